# SPDX-License-Identifier: MIT
"""The fuzz targets hold over their seeds, and the seeds reach what the targets are for."""

import json
import os
import shutil
import subprocess

import pytest

from targets import SRC, TARGETS, build, write_seeds

pytestmark = pytest.mark.skipif(bool(os.environ.get("SANITIZER_FLAGS")),
                                reason="they are built with sanitizers of their own")
each = pytest.mark.parametrize("name", TARGETS)
NO_UNDEFINED = "-fsanitize=undefined", "-fno-sanitize-recover=undefined"


def run(program, inputs, **environment):
    done = subprocess.run([program, *inputs], env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(inputs)} inputs\n"


@each
def test_laws_hold_for_every_seed(tmp_path, name):
    program = build(name, tmp_path, os.environ.get("CC", "cc"), "-O1", "-fsanitize=address", *NO_UNDEFINED)
    run(program, write_seeds(name, tmp_path / "seeds"))


@each
def test_seeds_reach_the_code(tmp_path, name):
    if not all(map(shutil.which, ("clang", "llvm-profdata", "llvm-cov"))):
        pytest.skip("clang and llvm measure the coverage")
    program = build(name, tmp_path, "clang", "-fprofile-instr-generate", "-fcoverage-mapping", *NO_UNDEFINED)
    run(program, write_seeds(name, tmp_path / "seeds"), LLVM_PROFILE_FILE=str(tmp_path / "raw"))
    subprocess.run(["llvm-profdata", "merge", "-o", tmp_path / "data", tmp_path / "raw"], check=True)
    report = subprocess.run(["llvm-cov", "export", "-summary-only", f"-instr-profile={tmp_path}/data", program],
                            check=True, capture_output=True, text=True).stdout
    reached = {file["filename"]: file["summary"]["lines"]["percent"] for file in json.loads(report)["data"][0]["files"]}
    floor = TARGETS[name].floor
    print({source: round(reached[str(SRC / source)]) for source in floor})
    assert not {source: percent for source, percent in floor.items() if reached[str(SRC / source)] < percent}
