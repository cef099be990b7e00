# SPDX-License-Identifier: MIT
"""The command, the vectors, and what the end-to-end tests have for servers and clients."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import harness  # noqa: E402  (found by the path above)

TRUEPEER = harness.COMMAND
VECTORS = harness.reference.load(HERE.parent / "vectors/public.jsonl")


def environment(**variables):
    """Without the TRUEPEER_* and LD_PRELOAD of whoever runs the tests."""
    return {**harness.environment(plain=True), **variables}


def truepeer(*words, input=b"", env=None, **options):
    """Runs the command to its end: returncode, stdout, stderr (bytes)."""
    return subprocess.run([TRUEPEER, *map(str, words)], input=input, capture_output=True,
                          env=environment() if env is None else env, timeout=harness.PATIENCE, **options)


def assert_wrong(done, word, status=2):
    """One line on standard error that names the word, nothing on standard output."""
    error = done.stderr.decode()
    assert done.returncode == status, error
    assert done.stdout == b""
    assert error.count("\n") == 1 and word in error, error


@pytest.fixture(autouse=True, scope="session")
def built_command():
    assert os.access(TRUEPEER, os.X_OK), f"{TRUEPEER} is not built"
