# SPDX-License-Identifier: MIT
"""Completion, in a bash that has sourced it."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import TRUEPEER, environment, truepeer
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

TAKES_VALUE = """
. "$SCRIPT"
truepeer=$1
_truepeer_takes_value "$2" "$3" && echo yes || echo no
"""

COMMAND_AT = """
. "$SCRIPT"
truepeer=$1 COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_truepeer_command_at
"""


def completed(*words, package=""):
    """What bash offers for the last of the words."""
    return asked(ASK, *words, package=package)


def asked(script, *words, package=""):
    """The lines that a script of bash prints about the command and these words."""
    env = environment(SCRIPT=str(SCRIPT), PACKAGE=package, LC_ALL="C")
    done = subprocess.run([find("bash", "bash"), "-c", script, "bash", TRUEPEER, *words], capture_output=True,
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


@pytest.mark.parametrize("subcommand", ["run", "doctor", "check", "decode", "stats", "send"])
def test_options_take_values_as_in_the_program(subcommand):
    options = completed(subcommand, "--")
    assert len(options) > 2 and {subcommand} == completed(subcommand)
    for option in options:
        takes = b"requires an argument" in truepeer(subcommand, option).stderr
        assert asked(TAKES_VALUE, subcommand, option) == {"yes" if takes else "no"}, option


ANY_WORDS = {"--programs", "--stats", "--rules", "--library", "--systemd", "--help", "--dry-run"}


def test_values_are_those_of_the_program():
    """The words that a setting takes, of those that the program says it expected; numbers may stand beside them."""
    for option in completed("run", "--") - ANY_WORDS:
        told = truepeer("run", option, "?", "--dry-run", "true").stderr.decode()
        assert option.removeprefix("--").replace("-", "_").upper() in told and "expected" in told, told
        words = re.findall(r"(?<!\S)[a-z-]+(?![^\s,])", told.rpartition("expected")[2])
        takes = {word for word in words
                 if truepeer("run", "--trust=all", option, word, "--dry-run", "true").returncode == 0}
        assert {word for word in completed("run", option, "") if not word.isdigit()} == takes, option


@pytest.mark.parametrize("words, expected", [
    (["run", "--header", ""], {"require", "optional"}), (["run", "--trust", "lo"], {"loopback"}),
    (["run", "--trust", "=", "lo"], {"loopback"}), (["run", "--trust", "="], {"loopback", "private", "all", "unix"}),
    (["send", "--tlv", "al"], {"alpn="}), (["send", "--src", ""], set()), (["doctor", "--port", ""], set()),
])
def test_values(words, expected):
    assert completed(*words) == expected


def test_files_and_processes(tmp_path):
    (tmp_path / "header.bin").touch()
    assert completed("decode", f"{tmp_path}/h") == {f"{tmp_path}/header.bin"}
    assert completed("run", "--library", f"{tmp_path}/h") == {f"{tmp_path}/header.bin"}
    assert completed("run", "--stats", f"{tmp_path}/h") == {f"{tmp_path}/header.bin"}
    assert str(os.getpid()) in completed("doctor", str(os.getpid())[:1])
    assert "bash" in completed("doctor", "--", "bas")


def test_the_command_of_run(tmp_path):
    assert "bash" in completed("run", "--trust", "loopback", "bas")
    for start in ["run", "ls"], ["run", "--dry-run", "ls"], ["run", "--trust", "all", "--", "ls"]:
        (tmp_path / "file").touch()
        assert completed(*start, f"{tmp_path}/f") == {f"{tmp_path}/file"}
    # Its own options are not offered for the command's.
    assert "--library" not in completed("run", "true", "--")


@pytest.mark.parametrize("words, place", [
    (["--dry-run", "ls", ""], {"3"}), (["--trust", "all", "ls", ""], {"4"}), (["--local", "reject", "ls", ""], {"4"}),
    (["--local", "=", "reject", "ls", ""], {"5"}), (["--trus", "all", "ls", ""], {"4"}),
    (["--trust", "all", "--", "ls", ""], {"5"}), (["--local", "reject", ""], set()),
])
def test_where_the_command_of_run_begins(words, place):
    assert asked(COMMAND_AT, "run", *words) == place


def test_the_command_of_run_with_the_package():
    if not Path(PACKAGE).exists():
        pytest.skip("bash-completion is not here")
    assert "/etc/passwd" in completed("run", "--trust", "all", "cat", "/etc/pass", package=PACKAGE)
