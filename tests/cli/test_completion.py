# SPDX-License-Identifier: MIT
"""Completion, in a bash that has sourced it."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import TRUEPEER, environment
from harness import find

SCRIPT = Path(__file__).resolve().parents[2] / "src/bash-completion/truepeer"
PACKAGE = "/usr/share/bash-completion/bash_completion"

ASK = """
[ -z "$PACKAGE" ] || . "$PACKAGE"
. "$SCRIPT"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
_truepeer 2>&1
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(*words, package=""):
    """What bash offers for the last of the words."""
    env = environment(SCRIPT=str(SCRIPT), PACKAGE=package, LC_ALL="C")
    done = subprocess.run([find("bash", "bash"), "-c", ASK, "bash", TRUEPEER, *words], capture_output=True,
                          text=True, env=env, timeout=20)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return {word for word in done.stdout.split("\n") if word}


def test_subcommands():
    assert {"run", "doctor", "send", "decode", "--help", "--version"} <= completed("")
    assert completed("dec") == {"decode"}


def test_options_are_those_of_the_command():
    assert completed("decode", "--") == {"--hex", "--json", "--help"}
    assert {"--trust", "--max-header", "--library", "--dry-run", "--systemd"} <= completed("run", "--")
    assert completed("run", "--max-h") == {"--max-header"}
    assert {"--v1", "--v2", "--src", "--split"} <= completed("send", "-")
    assert completed("doctor", "--p") == {"--port"}


@pytest.mark.parametrize("words, expected", [
    (["run", "--header", ""], {"require", "optional"}), (["run", "--trust", "lo"], {"loopback"}),
    (["run", "--trust", "=", "lo"], {"loopback"}), (["run", "--trust", "="], {"loopback", "private", "all"}),
    (["send", "--tlv", "al"], {"alpn="}), (["send", "--src", ""], set()), (["doctor", "--port", ""], set()),
])
def test_values(words, expected):
    assert completed(*words) == expected


def test_files_and_processes(tmp_path):
    (tmp_path / "header.bin").touch()
    assert completed("decode", f"{tmp_path}/h") == {f"{tmp_path}/header.bin"}
    assert completed("run", "--library", f"{tmp_path}/h") == {f"{tmp_path}/header.bin"}
    assert str(os.getpid()) in completed("doctor", str(os.getpid())[:1])


def test_the_command_of_run(tmp_path):
    assert "bash" in completed("run", "--trust", "loopback", "bas")
    for start in ["run", "ls"], ["run", "--dry-run", "ls"], ["run", "--trust", "all", "--", "ls"]:
        (tmp_path / "file").touch()
        assert completed(*start, f"{tmp_path}/f") == {f"{tmp_path}/file"}
    # Its own options are not offered for the command's.
    assert "--library" not in completed("run", "true", "--")


def test_the_command_of_run_with_the_package():
    if not Path(PACKAGE).exists():
        pytest.skip("bash-completion is not here")
    assert "/etc/passwd" in completed("run", "--trust", "all", "cat", "/etc/pass", package=PACKAGE)
