# SPDX-License-Identifier: MIT
"""truepeer run: what it starts, what it refuses, and why."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import harness
import programs
import pytest
from conftest import TRUEPEER, assert_wrong, environment, truepeer
from harness import LIBRARY, Program, find, foreign, parse

pytestmark = foreign
REFUSED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
TRUST = ["--trust", "loopback"]


@pytest.fixture(scope="module")
def folder(request):
    return programs.open_folder(request)


def shown(*words, **variables):
    """The environment that a command gets, by name."""
    done = truepeer("run", *words, "env", env=environment(**variables))
    assert (done.returncode, done.stderr) == (0, b"")
    return dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)


# ---- what is started ----

def test_a_server_reports_the_client(serve_path, tmp_path):
    server = Program([TRUEPEER, "run", *TRUST, "--timeout", "2s", "--", serve_path, "loop"], environment(),
                     tmp_path).listening()
    try:
        done = truepeer("send", "--src", "203.0.113.7:5", "127.0.0.1", server.port, input=b"x")
        answer = parse(done.stdout)
        assert answer.peer == "inet 203.0.113.7 5" and answer.payload == b"x"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def serve_path(tmp_path_factory):
    return harness.compiled("TEST_SERVER", "server.c", tmp_path_factory.mktemp("server"))


def test_every_setting_has_an_option():
    given = {"trust": "10.0.0.0/8", "listen": "25", "header": "optional", "untrusted": "reject", "versions": "2",
             "timeout": "5s", "max-header": "536", "max-pending": "7", "defer": "on", "ipv6": "keep", "log": "none"}
    env = shown(*(word for name, value in given.items() for word in (f"--{name}", value)))
    ours = {name: value for name, value in env.items() if name.startswith("TRUEPEER_")}
    assert ours == {f"TRUEPEER_{name.upper().replace('-', '_')}": value for name, value in given.items()}


def test_an_option_goes_before_the_variable_and_adds_to_itself():
    env = shown("--trust", "10.0.0.0/8", "--trust=192.0.2.1", TRUEPEER_TRUST="loopback", TRUEPEER_LISTEN="25")
    assert env["TRUEPEER_TRUST"] == "10.0.0.0/8 192.0.2.1" and env["TRUEPEER_LISTEN"] == "25"


def test_preload_is_kept_and_added_to(tmp_path):
    assert shown(*TRUST)["LD_PRELOAD"] == LIBRARY
    other = tmp_path / "other.so"
    subprocess.run([*shlex.split(os.environ.get("CC", "cc")), "-shared", "-o", other, "-xc", "/dev/null"], check=True)
    assert shown(*TRUST, LD_PRELOAD=str(other))["LD_PRELOAD"] == f"{LIBRARY}:{other}"
    # Once is enough, whatever name it goes by.
    (tmp_path / "link.so").symlink_to(LIBRARY)
    for there in f"{other}:{LIBRARY}", f"{tmp_path}/link.so":
        assert shown(*TRUST, LD_PRELOAD=there)["LD_PRELOAD"] == there


def test_another_library(tmp_path):
    copy = tmp_path / "mine.so"
    shutil.copy(LIBRARY, copy)
    assert shown(*TRUST, "--library", str(copy))["LD_PRELOAD"] == str(copy)
    done = truepeer("run", *TRUST, "--library", "./mine.so", "env", cwd=tmp_path)
    assert f"LD_PRELOAD={copy}".encode() in done.stdout


def test_arguments_and_status_are_the_commands():
    done = truepeer("run", *TRUST, "sh", "-c", 'printf "%s|" "$@"; exit 3', "--", "-h", "a b", "", input=b"")
    assert (done.returncode, done.stdout) == (3, b"-h|a b||")


def test_sigpipe_is_as_it_was():
    done = truepeer("run", *TRUST, "grep", "SigIgn", "/proc/self/status")
    assert int(done.stdout.split()[1], 16) & 1 << 12 == 0


def test_scripts(tmp_path):
    script = tmp_path / "script"
    for head in "#!/bin/sh\n", "#! /bin/sh -e\n", "#!/usr/bin/env sh\n", "":
        script.write_text(head + "echo $LD_PRELOAD")
        script.chmod(0o755)
        assert truepeer("run", *TRUST, script).stdout.decode().strip() == LIBRARY


def test_dry_run_prints_what_a_shell_would_run():
    words = ["--trust", "10.0.0.0/8 192.0.2.1", "--dry-run", "printf", "%s|", "it's", "a b", "", "$(x)", "a=b"]
    done = truepeer("run", *words, env=environment(TRUEPEER_LOG="none"))
    line = done.stdout.decode()
    assert done.returncode == 0 and line.count("\n") == 1
    assert f"LD_PRELOAD={LIBRARY} " in line and "TRUEPEER_TRUST='10.0.0.0/8 192.0.2.1' " in line
    assert "TRUEPEER_LOG=none" in line
    assert subprocess.run(["sh", "-c", line], capture_output=True).stdout == b"it's|a b||$(x)|a=b|"


def test_works_for_everybody():
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    done = truepeer("run", *TRUST, "true", user=programs.NOBODY, group=programs.NOBODY, extra_groups=[])
    assert (done.returncode, done.stderr) == (0, b"")


# ---- what is refused ----

def assert_refused(word, *words, status=REFUSED, **options):
    assert_wrong(truepeer("run", *words, **options), word, status)


@pytest.mark.parametrize("words, word", [
    (["true"], "--trust"), (["--trust", "", "true"], "--trust"), (["--trust", "10.0.0.1/8", "true"], '"10.0.0.1/8"'),
    ([*TRUST, "--timeout", "5", "--timeout", "6", "true"], '"6"'), ([*TRUST, "--listen", "25,x", "true"], '"x"'),
    ([*TRUST], "command"), (["--bogus", "true"], "--bogus"), (["--trust"], "--trust"),
    ([*TRUST, "--systemd", "vsftpd", "true"], '"true"'), ([*TRUST, "--systemd", "a/b"], '"a/b"'),
    ([*TRUST, "--systemd", "x.socket"], '"x.socket"'), ([*TRUST, "--systemd", ".service"], '".service"'),
    ([*TRUST, "--library", "/none/lib.so", "true"], '"/none/lib.so"'),
    ([*TRUST, "--library", "/etc/passwd", "true"], "not a shared library"),
    ([*TRUST, "--library", "/etc", "true"], "not a shared library"),
])
def test_wrong_usage_and_settings(words, word):
    assert_refused(word, *words)


def test_a_mistake_in_a_variable():
    assert_refused('TRUEPEER_HEADER: "maybe"', *TRUST, "true", env=environment(TRUEPEER_HEADER="maybe"))


def test_a_library_whose_path_the_loader_would_cut(tmp_path):
    copy = tmp_path / "a b.so"
    shutil.copy(LIBRARY, copy)
    assert_refused("spaces", *TRUST, "--library", copy, "true")


def test_commands_that_are_not_there(tmp_path):
    assert_refused("no such command", *TRUST, "no-such-\x1b", status=NOT_FOUND)
    assert_refused('"./none"', *TRUST, "./none", status=NOT_FOUND)
    assert_refused('""', *TRUST, "", status=NOT_FOUND)
    assert_refused("Permission denied", *TRUST, "/etc/passwd", status=NOT_EXECUTABLE)
    assert_refused("directory", *TRUST, "/etc", status=NOT_EXECUTABLE)
    script = tmp_path / "script"
    script.write_text("#!/none/such\n")
    script.chmod(0o755)
    assert_refused('"/none/such"', *TRUST, script, status=NOT_EXECUTABLE)
    script.write_text(f"#!{script}\n")
    assert_refused("symbolic links", *TRUST, script, status=NOT_EXECUTABLE)
    # The first that cannot be executed is told, not the last that is not there.
    (tmp_path / "thing").write_text("")
    env = environment(PATH=f"{tmp_path}:/none")
    assert_refused("Permission denied", *TRUST, "thing", status=NOT_EXECUTABLE, env=env)


@pytest.mark.parametrize("make, word", [
    (programs.static, "statically linked"), (programs.static_pie, "statically linked"), (programs.go, "Go program"),
    (programs.musl, "musl"), (programs.narrow, "i386"), (programs.foreign, "architecture"),
], ids=lambda made: getattr(made, "__name__", None))
def test_programs_that_cannot_be_preloaded(make, word, folder):
    program = make(folder)
    assert_refused(word, *TRUST, program)
    assert_refused(word, *TRUST, "--dry-run", program)
    script = folder / "script"
    script.write_text(f"#!{program}\n")
    script.chmod(0o755)
    assert_refused(word, *TRUST, script)


def test_a_dynamic_go_program(folder):
    assert_refused("Go program", *TRUST, programs.go(folder, "-ldflags=-linkmode=internal", "-buildmode=pie"))


def test_a_go_program_that_the_c_compiler_links(folder):
    assert_refused("Go program", *TRUST, programs.go(folder, "-ldflags=-linkmode=external", cgo=True))


def as_nobody():
    return {"user": programs.NOBODY, "group": programs.NOBODY, "extra_groups": []}


def test_setuid_and_setgid(folder):
    assert_refused("is setuid", *TRUST, programs.setuid("/bin/true", folder))
    assert_refused("is setgid", *TRUST, programs.setuid("/bin/true", folder, 0o2755))
    # Its owner gains nothing, and the loader heeds LD_PRELOAD: nor do we refuse.
    env = shutil.copy(find("env", "coreutils"), folder / "env")
    for owner, options in (0, {}), (programs.NOBODY, as_nobody()):
        done = truepeer("run", *TRUST, programs.setuid(env, folder, owner=owner), **options)
        assert done.returncode == 0 and b"LD_PRELOAD" in done.stdout


def test_file_capabilities(folder):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file capabilities")
    program = programs.capable("/bin/true", folder)
    assert_refused("capabilities", *TRUST, program, **as_nobody())
    assert truepeer("run", *TRUST, program).returncode == 0  # root gains nothing


# ---- the drop-in ----

def test_the_drop_in(tmp_path):
    done = truepeer("run", "--trust", "10.0.0.0/8 2001:db8::/64", "--log", "file:/var/log/a%i\"\\x", "--systemd",
                    "vsftpd.service", env=environment(LD_PRELOAD="/not/this"))
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert lines[0] == "# /etc/systemd/system/vsftpd.service.d/truepeer.conf"
    assert lines[2:] == ["[Service]", f'Environment="LD_PRELOAD={LIBRARY}"',
                         'Environment="TRUEPEER_LOG=file:/var/log/a%%i\\"\\\\x"',
                         'Environment="TRUEPEER_TRUST=10.0.0.0/8 2001:db8::/64"']
    assert truepeer("run", *TRUST, "--systemd", "x@1").stdout.startswith(b"# /etc/systemd/system/x@1.service.d/")


def test_systemd_takes_the_drop_in(tmp_path):
    find("systemd-analyze", "systemd")
    (tmp_path / "t.service").write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "t.service.d").mkdir()
    done = truepeer("run", "--trust", "10.0.0.0/8 2001:db8::/64", "--log", 'file:/a"\\%b', "--systemd", "t")
    (tmp_path / "t.service.d/truepeer.conf").write_bytes(done.stdout)
    verdict = subprocess.run(["systemd-analyze", "verify", tmp_path / "t.service"], capture_output=True, text=True,
                             env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"})
    assert "truepeer.conf" not in verdict.stderr, verdict.stderr


def test_help_goes_to_standard_output():
    for words in ["--help"], ["run", "--help"], ["send", "--help"], ["decode", "-h"]:
        done = truepeer(*words)
        assert done.returncode == 0 and done.stdout.startswith(b"Usage: truepeer") and done.stderr == b""
    assert truepeer("--version").stdout.startswith(b"truepeer ")
    assert_wrong(truepeer("bogus"), '"bogus"')
    assert truepeer().returncode == 2 and Path(TRUEPEER).exists()
