# SPDX-License-Identifier: MIT
"""The parser against the public vectors, their prefixes and their mutations.

The reference is check.py, an independent parser; where the vectors' README chooses
otherwise, `reference` says so.
"""

import importlib.util
import ipaddress
import json
import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors"
SOURCES = ["addr.c", "crc32c.c", "header.c", "header_v1.c", "header_v2.c", "tlv.c"]
MUTATIONS = 20000

sys.dont_write_bytecode = True
_spec = importlib.util.spec_from_file_location("check", VECTORS / "check.py")
check = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check)

vectors = check.load(VECTORS / "public.jsonl")


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """judge(list of bytes): what the parser makes of each."""
    program = os.environ.get("JUDGE_HEADER") or compiled(tmp_path_factory.mktemp("judge"))

    def run(inputs):
        lines = "".join(f"{i} {data.hex()}\n" for i, data in enumerate(inputs))
        done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]
    return run


def compiled(folder):
    src, program = HERE.parents[1] / "src", folder / "judge_header"
    command = shlex.split(os.environ.get("CC", "cc")) + ["-std=gnu11", "-D_GNU_SOURCE", f"-I{src}"]
    sources = [HERE / "judge_header.c", *(src / name for name in SOURCES)]
    subprocess.run([*command, "-o", program, *sources], check=True)
    return program


# ---- the reference, with the README's choices ----

TAIL = re.compile(rb"(?<=:)(\d{1,3}(?:\.\d{1,3}){3})(?=[ \r])")


def without_dotted_tails(data):
    """Dotted tails in TCP6, which we accept and check.py does not, as two groups."""
    end = data[:107].find(b"\r\n")
    if not data.startswith(b"PROXY TCP6 ") or end < 0:
        return data

    def groups(match):
        try:
            ip = int(ipaddress.IPv4Address(match[1].decode()))
        except ValueError:
            return match[1]
        return b"%x:%x" % (ip >> 16, ip & 0xffff)  # never longer than it was
    return TAIL.sub(groups, data[:end + 2]) + data[end + 2:]


def reference(data):
    plain = without_dotted_tails(data)
    result = check.parse(plain)
    if result["len"]:
        result["len"] += len(data) - len(plain)
    return result


def agree(got, expected):
    if got["outcome"] != expected["outcome"]:
        return False
    if got["outcome"] == "proxy":
        return not check.diff(expected, got, ["src", "sport", "dst", "dport", "len", "tlvs"])
    return got.get("len") == expected["len"]


def assert_agreement(judge, inputs):
    results = judge(inputs)
    assert len(results) == len(inputs)
    apart = [(data.hex(), got, expected)
             for data, got, expected in zip(inputs, results, map(reference, inputs))
             if not agree(got, expected)]
    assert not apart, f"{len(apart)} of {len(inputs)} differ, such as {apart[:3]}"


# ---- the tests ----

def test_every_vector_is_judged_as_stated(judge, tmp_path, capsys):
    results = judge([bytes.fromhex(vector["hex"]) for vector in vectors])
    lines = [json.dumps({**got, "id": vector["id"]}) for vector, got in zip(vectors, results)]
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    wrong = check.judge(tmp_path / "results.jsonl", [VECTORS / "public.jsonl"], ["tlv", "crc32c"])
    assert not wrong, capsys.readouterr().out


def cuts(length):
    """All places to cut at; of long ones the start, the end, and some between."""
    return range(length) if length <= 400 else [*range(300), *range(300, length, 997), *range(length - 40, length)]


def test_every_prefix_of_a_header_is_incomplete(judge):
    headers = [bytes.fromhex(vector["hex"])[:vector["len"]] for vector in vectors if vector["len"]]
    results = judge([header[:cut] for header in headers for cut in cuts(len(header))])
    assert {got["outcome"] for got in results} == {"incomplete"}


def test_every_prefix_of_a_vector_is_judged_as_the_reference_does(judge):
    inputs = {data[:cut] for data in (bytes.fromhex(vector["hex"]) for vector in vectors)
              for cut in cuts(len(data))}
    assert_agreement(judge, sorted(inputs))


TEMPTING = b"\r\n\0 .:/09afAF\x01\x02\x03\x04\x05\x10\x11\x20\x21\x31\x7f\x80\xff"


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at, what = rng.randrange(len(data) + 1), rng.randrange(7)
        if what == 0:
            data[at:at + 1] = b""
        elif what == 1:
            data[at:at] = bytes([rng.choice(TEMPTING)])
        elif what == 2:
            data[at:at] = data[at:at + rng.randrange(1, 9)]
        elif what == 3:
            data[at:] = b""
        elif at < len(data):
            data[at] = rng.choice((rng.choice(TEMPTING), rng.randrange(256),
                                   data[at] ^ 1 << rng.randrange(8), (data[at] + 1) % 256))
    return bytes(data)


def mended(data):
    """With the length that v2 has to announce, so that the mutation is not all there is to see."""
    if not data.startswith(check.SIG) or len(data) < 16:
        return data
    return data[:14] + (len(data) - 16).to_bytes(2, "big") + data[16:]


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
