# SPDX-License-Identifier: MIT
"""The parser against the public vectors, their prefixes and their mutations."""

import json
import os
import random
import sys
from pathlib import Path

import pytest

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
sys.path.insert(0, str(VECTORS))
from differential import check, compiled, differences, judged, mended, mutated, vectors  # noqa: E402  (found by the path above)

MUTATIONS = 20000


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    return os.environ.get("JUDGE_HEADER") or compiled(tmp_path_factory.mktemp("judge"))


def assert_agreement(judge, inputs):
    apart = differences(judge, inputs)
    assert not apart, f"{len(apart)} of {len(inputs)} differ, such as {apart[:3]}"


def test_every_vector_is_judged_as_stated(judge, tmp_path, capsys):
    results = judged(judge, [bytes.fromhex(vector["hex"]) for vector in vectors])
    lines = [json.dumps({**got, "id": vector["id"]}) for vector, got in zip(vectors, results)]
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    wrong = check.judge(tmp_path / "results.jsonl", [VECTORS / "public.jsonl"], ["tlv", "crc32c"])
    assert not wrong, capsys.readouterr().out


def cuts(length):
    """All places to cut at; of long ones the start, the end, and some between."""
    return range(length) if length <= 400 else [*range(300), *range(300, length, 997), *range(length - 40, length)]


def test_every_prefix_of_a_header_is_incomplete(judge):
    headers = [bytes.fromhex(vector["hex"])[:vector["len"]] for vector in vectors if vector["len"]]
    results = judged(judge, [header[:cut] for header in headers for cut in cuts(len(header))])
    assert {got["outcome"] for got in results} == {"incomplete"}


def test_every_prefix_of_a_vector_is_judged_as_the_reference_does(judge):
    inputs = {data[:cut] for data in (bytes.fromhex(vector["hex"]) for vector in vectors)
              for cut in cuts(len(data))}
    assert_agreement(judge, sorted(inputs))


def test_mutated_vectors_are_judged_as_the_reference_does(judge):
    rng = random.Random(20260427)
    seeds = [bytes.fromhex(vector["hex"]) for vector in vectors
             if vector["expect"] != "none" and len(vector["hex"]) < 1000]
    inputs = [mutated(rng, rng.choice(seeds)) for _ in range(MUTATIONS)]
    assert_agreement(judge, inputs[:MUTATIONS // 2] + [mended(data) for data in inputs[MUTATIONS // 2:]])


def test_spliced_vectors_are_judged_as_the_reference_does(judge):
    rng = random.Random(42)
    seeds = [data for data in (bytes.fromhex(vector["hex"]) for vector in vectors) if len(data) < 300]

    def spliced():
        one, other = rng.choice(seeds), rng.choice(seeds)
        at = rng.randrange(len(one) + 1)
        return one[:at] + other[at:]
    assert_agreement(judge, [spliced() for _ in range(MUTATIONS // 4)])
