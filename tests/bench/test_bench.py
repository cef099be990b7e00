# SPDX-License-Identifier: MIT
"""The measurement measures what it says: it refuses to go on without the library, and with one that
does nothing."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(bool(os.environ.get("SANITIZER_FLAGS")),
                                reason="what a sanitizer costs is not measured")
RUN = Path(__file__).resolve().parent / "run"


def bench(tmp_path, *words, **variables):
    done = subprocess.run([sys.executable, "-B", RUN, "--quick", "--to", tmp_path, *words], env={**os.environ, **variables},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    if "needs root" in done.stderr or "not measured" in done.stdout:
        pytest.skip((done.stderr or done.stdout).strip())
    return done


def test_accept_loop_is_measured_and_drawn(tmp_path):
    done = bench(tmp_path, "accept-loop")
    assert done.returncode == 0, done.stderr
    for way in "no header", "v1 as payload", "v2 as payload", "truepeer v1", "truepeer v2", "three bare calls v2":
        assert re.search(rf"^  {way} +[1-9]\d+ ", done.stdout, re.M), done.stdout
    assert re.search(r"^  accept-loop: .* (met|MISSED)$", done.stdout, re.M), done.stdout
    if shutil.which("gnuplot"):
        assert "truepeer v2" in (tmp_path / "bench.svg").read_text()


def test_library_that_is_not_there_is_refused(tmp_path):
    done = bench(tmp_path, "accept-loop", LIBTRUEPEER=str(tmp_path / "libtruepeer.so"))
    assert done.returncode == 1
    assert "libtruepeer.so is not built" in done.stderr


@pytest.mark.parametrize("what", ["accept-loop", "start-up"])
def test_library_that_does_nothing_is_refused(tmp_path, what):
    nothing = tmp_path / "libtruepeer.so"
    subprocess.run(["cc", "-shared", "-o", nothing, "-x", "c", "/dev/null"], check=True)
    done = bench(tmp_path, what, LIBTRUEPEER=str(nothing))
    assert done.returncode == 1, done.stdout
    assert re.search(r"^run: .*", done.stderr, re.M), done.stderr
