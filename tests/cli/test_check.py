# SPDX-License-Identifier: MIT
"""truepeer check: the rules as a table, every mistake, and what would happen to a connection."""

import pytest
from conftest import assert_wrong, environment, truepeer
from harness import rules_in

RULES = """\
# checks
log syslog info
max-pending 64
from 10.0.0.5 header optional
listen 25,587 [2001:db8::1]:1000-2000 from 10.0.0.0/8 2001:db8::/32 timeout 1500ms chain 2
listen 0.0.0.0:80 from loopback untrusted reject versions 2 local reject lenient mixed-family ipv6 keep defer on
"""


@pytest.fixture
def rules(tmp_path):
    return rules_in(tmp_path)


def table(done):
    """The rules of the table, by their titles."""
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().partition("\n\n")[2].splitlines()
    titles = lines[0].split()
    starts = [lines[0].index(f"  {title}") for title in titles[1:]]
    rows = []
    for line in lines[1:]:
        if not line:
            break
        cells = [line[a:b].strip() for a, b in zip([0, *starts], [*starts, None])]
        rows.append(dict(zip(titles, cells)))
    return rows


DEFAULTS = {"listen": "all", "header": "require", "untrusted": "-", "versions": "1,2", "timeout": "3s",
            "max-header": "4096", "defer": "-", "local": "accept", "chain": "0", "lenient": "-", "ipv6": "pseudo", "sockname": "kernel"}


def test_table_shows_the_effective_rules(rules):
    path = rules(RULES)
    done = truepeer("check", "--rules", path)
    assert table(done) == [
        {"rule": "1", "where": "line 4", **DEFAULTS, "from": "10.0.0.5", "header": "optional"},
        {"rule": "2", "where": "line 5", **DEFAULTS, "listen": "25,587,[2001:db8::1]:1000-2000",
         "from": "10.0.0.0/8,2001:db8::/32", "timeout": "1500ms", "chain": "2"},
        {"rule": "3", "where": "line 6", **DEFAULTS, "listen": "0.0.0.0:80", "from": "127.0.0.0/8,::1",
         "untrusted": "reject", "versions": "2", "local": "reject", "lenient": "mixed-family", "ipv6": "keep",
         "defer": "on"}]
    head = done.stdout.decode().splitlines()
    assert head[0].split() == ["rules", "file", str(path)]
    assert head[1].split() == ["log", "syslog", "info"] and head[2].split() == ["max-pending", "64"]


def test_unix_and_sockname_are_shown(rules):
    done = truepeer("check", "--rules", rules("listen /run/a.sock from unix sockname header\nfrom unix 10.0.0.1"))
    assert table(done) == [
        {"rule": "1", "where": "line 1", **DEFAULTS, "listen": '"/run/a.sock"', "from": "unix", "sockname": "header"},
        {"rule": "2", "where": "line 2", **DEFAULTS, "from": "unix,10.0.0.1"}]


def test_variables_are_read_as_the_library_reads_them(rules):
    env = environment(TRUEPEER_TRUST="10.0.0.0/8", TRUEPEER_HEADER="optional", TRUEPEER_LOG="file:/a/b")
    done = truepeer("check", env=env)
    assert table(done) == [{"rule": "1", "where": "variables", **DEFAULTS, "from": "10.0.0.0/8", "header": "optional"}]
    assert b"file:/a/b warning" in done.stdout
    env["TRUEPEER_RULES"] = str(rules(RULES))
    assert [rule["where"] for rule in table(truepeer("check", env=env))] == ["line 4", "line 5", "line 6", "variables"]
    # a file on the command line stands alone
    assert len(table(truepeer("check", "--rules", rules(RULES), env=env))) == 3


def test_long_lists_are_cut(rules):
    done = truepeer("check", "--rules", rules("from " + " ".join(f"10.0.{i}.1" for i in range(200))))
    assert table(done)[0]["from"] == "10.0.0.1,10.0.1.1,10.0.2.1,10.0.3.1,+196"


def test_file_may_be_named_from_here(rules):
    path = rules(RULES)
    assert len(table(truepeer("check", "--rules", path.name, cwd=path.parent))) == 3


def test_file_and_folder_may_have_any_name(tmp_path):
    path = tmp_path / "a b" / "c, d"
    path.parent.mkdir()
    path.write_text(RULES)
    for name, folder in (path, tmp_path), (path.relative_to(tmp_path), tmp_path), (path.name, path.parent):
        assert len(table(truepeer("check", "--rules", name, cwd=folder))) == 3


def test_without_a_rule_nothing_is_touched():
    done = truepeer("check")
    assert done.returncode == 0 and b"nothing is touched" in done.stdout


def test_every_mistake_is_told_with_file_line_and_word(rules):
    path = rules("from 10.0.0.1/8 header maybe\nfroom all\r\n" + "from x\n" * 100)
    done = truepeer("check", "--rules", path)
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, len(lines)) == (1, b"", 103)
    for line, (number, word) in zip(lines, [(1, "10.0.0.1/8"), (1, "maybe"), (2, "froom"), (3, "x"), (4, "x")]):
        assert line.startswith(f"{path}:{number}: ") and f'"{word}"' in line and "expected" in line


def test_mistakes_in_variables_are_told():
    done = truepeer("check", env=environment(TRUEPEER_TRUST="x all y", TRUEPEER_HEADER="maybe"))
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1 and done.stdout == b""
    assert [line.partition(";")[0].split(": ")[:2] for line in lines] == [
        ["TRUEPEER_TRUST", '"x"'], ["TRUEPEER_TRUST", '"y"'], ["TRUEPEER_HEADER", '"maybe"']]


def test_strange_bytes_are_escaped(rules):
    done = truepeer("check", "--rules", rules(b"from \x1b[31m\x00\xff"))
    assert done.returncode == 1
    assert all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in done.stderr), done.stderr


@pytest.mark.parametrize("name", ["missing", ".", "/dev/zero"])
def test_unreadable_file(name, tmp_path):
    done = truepeer("check", "--rules", name, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == b""
    assert name.encode() in done.stderr and done.stderr.count(b"\n") == 1


def test_unknown_variables_are_warned_about():
    done = truepeer("check", env=environment(TRUEPEER_TRUST="all", TRUEPEER_TRUSTED="x"))
    assert done.returncode == 0 and b"TRUEPEER_TRUSTED" in done.stderr


@pytest.mark.parametrize("source, to, what", [
    ("10.0.0.5", "192.0.2.1:25", ["rule 1;", "trusted", "served under its own"]),
    ("10.0.0.6", "192.0.2.1:25", ["rule 2;", "trusted", "1500ms", "reset", "up to 2 more"]),
    ("::ffff:10.0.0.6", "192.0.2.1:25", ["rule 2;"]),
    ("2001:db8::5", "[2001:db8::1]:1500", ["rule 2;"]),
    ("2001:db8::5", "[2001:db8::1]:2001", ["no rule", "untouched"]),
    ("10.0.0.6", "192.0.2.1:81", ["no rule", "untouched"]),
    ("127.0.0.1", "192.0.2.1:80", ["rule 3;", "version 2"]),
    ("203.0.113.7", "192.0.2.1:80", ["rule 3;", "not a trusted source", "reset"]),
    ("203.0.113.7", "[::1]:80", ["no rule"]),
])
def test_one_connection(rules, source, to, what):
    done = truepeer("check", "--rules", rules(RULES), "--from", source, "--to", to)
    assert done.returncode == 0
    line = done.stdout.decode().splitlines()[-1]
    assert line.startswith(f"from {source} to {to}: ") and all(words in line for words in what), line


@pytest.mark.parametrize("words, wrong", [
    (["--from", "10.0.0.1"], "--to"), (["--to", "10.0.0.1:25"], "--from"), (["rules"], "rules"), (["--nope"], "nope"),
    (["--rules"], "rules"), (["--from", "10.0.0.256", "--to", "10.0.0.1:25"], "10.0.0.256"),
    (["--from", "10.0.0.1/8", "--to", "10.0.0.1:25"], "10.0.0.1/8"),
    (["--from", "10.0.0.1", "--to", "10.0.0.1"], "10.0.0.1"), (["--from", "10.0.0.1", "--to", "::1:25"], "::1:25"),
    (["--from", "10.0.0.1", "--to", "10.0.0.1:65536"], "65536")])
def test_wrong_usage(words, wrong):
    assert_wrong(truepeer("check", *words), wrong)


def test_help():
    done = truepeer("check", "--help")
    assert done.returncode == 0 and done.stdout.startswith(b"Usage: truepeer check") and done.stderr == b""
