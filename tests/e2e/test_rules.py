# SPDX-License-Identifier: MIT
"""The rules file: which rule applies to whom, and what a mistake in it does."""

import os
import socket
import subprocess
import time

import pytest

from harness import (PATIENCE, ask, connect, environment, exchange, is_refused, listener, name, parse, private_mounts,
                     read_all, rules_in, v1, v2)

CLIENT = "inet 203.0.113.7 56324"


def outcome(port, data=b"", source="127.0.0.1"):
    """What becomes of a connection: client, untouched (served as it is, all data) or refused."""
    try:
        with connect(port, source=source) as client:
            reply = exchange(client, data)
            me = name(client.getsockname())
    except (ConnectionResetError, BrokenPipeError):
        return "refused"
    answer = parse(reply)
    assert answer.accept == answer.peer
    if answer.peer == CLIENT:
        return "client"
    assert answer.peer == me
    return "untouched" if answer.payload == data else "balancer"


@pytest.fixture
def rules(tmp_path):
    return rules_in(tmp_path)


@pytest.fixture
def serve_by(serve, rules):
    """serve_by(text, mode="loop", *options, HEADER="optional"): a server with these rules."""
    def start(text, mode="loop", *options, **variables):
        return serve(mode, *options, **{"TRUST": None, "RULES": rules(text), **variables})
    return start


# ---- which rule ----

def test_first_rule_that_matches_counts(serve_by):
    server = serve_by("""
        # health checks come without a header
        from 127.0.0.5 header optional
        from 127.0.0.0/24 versions 2
        from 127.0.0.5 127.0.1.0/24
        """)
    assert outcome(server.port, b"hello", "127.0.0.5") == "untouched"
    assert outcome(server.port, v1(), "127.0.0.5") == "client"
    assert outcome(server.port, b"hello", "127.0.0.6") == "refused"
    assert outcome(server.port, v1(), "127.0.0.6") == "refused"
    assert outcome(server.port, v2(), "127.0.0.6") == "client"
    assert outcome(server.port, v1(), "127.0.1.6") == "client"
    assert outcome(server.port, b"hello", "127.0.1.6") == "refused"
    for data in v1(), v2(), b"hello", b"":
        assert outcome(server.port, data, "127.0.2.1") == "untouched"


@pytest.mark.parametrize("mode", ["loop", "epoll", "fork"])
def test_rules_apply_to_listeners(serve_by, mode):
    with listener("0.0.0.0") as inherited:
        port = inherited.getsockname()[1]
        serve_by(f"""
            listen {port + 1} from loopback header optional
            listen 127.0.0.2:{port} from loopback header optional
            listen {port - 1}-{port} from loopback versions 1
            from loopback header optional
            """, mode, "-l", inherited.fileno(), fds=[inherited.fileno()])
    assert outcome(port, v1()) == "client"
    assert is_refused(port, b"hello") and is_refused(port, v2())
    assert ask(port, b"hello", host="127.0.0.2").payload == b"hello"


def test_variables_make_the_last_rule(serve_by):
    server = serve_by("from 127.0.0.5 header optional\n", TRUST="127.0.0.0/24", UNTRUSTED="reject")
    assert outcome(server.port, b"hello", "127.0.0.5") == "untouched"
    assert outcome(server.port, v1(), "127.0.0.6") == "client"
    assert outcome(server.port, b"hello", "127.0.0.6") == "refused"
    assert outcome(server.port, v1(), "127.0.1.1") == "refused"


@pytest.mark.parametrize("text, what", [
    ("from 127.0.0.1 untrusted reject", "refused"),
    ("from 127.0.0.1\nuntrusted reject", "refused"),
    ("from 127.0.0.1 untrusted pass\nuntrusted reject", "untouched"),
    ("listen {port} from 127.0.0.1\nlisten {other} untrusted reject", "untouched"),
    ("listen {port} untrusted reject\nfrom 127.0.0.1", "refused"),
    ("listen {other} untrusted pass\nfrom 127.0.0.1 untrusted reject", "refused"),
    ("listen {port} untrusted pass\nfrom 127.0.0.1 untrusted reject", "untouched"),
])
def test_untrusted_are_dealt_with_by_the_first_rule_for_the_listener_that_says_how(serve_by, text, what):
    with listener() as inherited:
        port = inherited.getsockname()[1]
        serve_by(text.format(port=port, other=port + 1), "loop", "-l", inherited.fileno(), fds=[inherited.fileno()])
    for data in v1(), b"hello", b"":
        assert outcome(port, data, "127.0.0.2") == what
    assert outcome(port, v1(), "127.0.0.1") == "client"


def test_each_rule_has_its_own_deadline(serve_by):
    server = serve_by("from 127.0.0.5 timeout 300ms header optional\nfrom loopback timeout 60s\n",
                      MAX_PENDING="16")
    start = time.monotonic()
    with connect(server.port, source="127.0.0.6") as other:
        with connect(server.port, source="127.0.0.5") as checker:
            assert parse(checker.recv(1000)).peer == name(checker.getsockname())
        assert 0.28 < time.monotonic() - start < 5
        assert parse(exchange(other, v2() + b"x")).peer == CLIENT


def test_settings_of_the_process_are_lines_of_their_own(serve_by, tmp_path):
    log = tmp_path / "true peer.log"
    server = serve_by(f"log 'file:{log}' info\nmax-pending 16\nfrom loopback timeout 60s\n")
    with connect(server.port):  # parked: nobody waits
        assert outcome(server.port, v1()) == "client"
    assert outcome(server.port, b"hello") == "refused"
    assert server.stderr == ""
    assert "203.0.113.7" in log.read_text() and "hello" in log.read_text()


@pytest.mark.parametrize("mode", ["poll", "poll-blocking", "epoll"])
def test_file_gives_an_inherited_listener_its_waiting_room(run, server_path, rules, mode):
    # without /proc there is no other way to learn later where the listener is
    env = environment(TRUST=None, RULES=rules("max-pending 16\nfrom loopback timeout 60s\n"))
    if subprocess.run(["unshare", "-m", "umount", "-l", "/proc"], capture_output=True).returncode:
        pytest.skip("/proc cannot be taken away here")
    with listener() as inherited:
        command = f"umount -l /proc; exec {server_path} -l {inherited.fileno()} {mode}"
        server = run(["unshare", "-m", "sh", "-c", command], env, [inherited.fileno()]).listening()
    with connect(server.port) as late:
        late.sendall(v1()[:20])
        time.sleep(0.05)
        assert outcome(server.port, v1()) == "client"
        late.sendall(v1()[20:] + b"x")
        late.shutdown(socket.SHUT_WR)
        assert parse(read_all(late)).peer == CLIENT


def test_file_may_be_for_some_programs(serve_by, run, server_path, rules):
    assert outcome(serve_by("programs vsftpd server\nfrom 127.0.0.1").port, v1()) == "client"
    # all others it leaves alone, and its mistakes too
    for text in "from 127.0.0.1\n", "from x\n":
        server = serve_by(text + "programs vsftpd sshd")
        assert outcome(server.port, v1()) == "untouched"
        assert server.stderr == ""
    server = run([server_path, "loop"], environment(TRUST=None, RULES=rules("from x\nprograms server")))
    assert server.line() == "listen: Invalid argument"


def test_file_is_read_once(serve_by, rules):
    server = serve_by("from 127.0.0.1\n")
    assert outcome(server.port, v1()) == "client"
    rules("nonsense")
    assert outcome(server.port, v1()) == "client"
    assert server.stderr == ""


# ---- local and lenient ----

LOCALS = [v2(command=0), b"PROXY UNKNOWN\r\n", v2()[:12] + b"\x21\x00\x00\x00"]


@pytest.mark.parametrize("header", LOCALS, ids=["local", "unknown", "unspec"])
def test_header_without_a_client_is_accepted_or_rejected(serve, serve_by, header):
    assert outcome(serve("loop").port, header) == "balancer"
    assert outcome(serve("loop", LOCAL="accept").port, header) == "balancer"
    server = serve("loop", LOCAL="reject")
    assert outcome(server.port, header) == "refused"
    assert outcome(server.port, v1()) == "client"
    server = serve_by("from 127.0.0.5\nfrom loopback local reject")
    assert outcome(server.port, header, "127.0.0.5") == "balancer"
    assert outcome(server.port, header) == "refused"


MIXED = [b"PROXY TCP4 203.0.113.7 2001:db8::1 56324 443\r\n",
         b"PROXY TCP4 203.0.113.7 ::ffff:192.0.2.1 56324 443\r\n",
         b"PROXY TCP6 ::ffff:203.0.113.7 192.0.2.1 56324 443\r\n"]
STILL_WRONG = [b"PROXY TCP4 2001:db8::7 192.0.2.1 56324 443\r\n", b"PROXY TCP6 203.0.113.7 2001:db8::1 1 2\r\n",
               b"PROXY TCP4 203.0.113.7 192.0.2.256 56324 443\r\n", b"PROXY TCP4 203.0.113.7 x 56324 443\r\n"]


@pytest.mark.parametrize("header", MIXED)
def test_mixed_family_is_taken_where_it_is_asked_for(serve, header):
    assert outcome(serve("loop").port, header) == "refused"
    assert outcome(serve("loop", LENIENT="mixed-family").port, header) == "client"


@pytest.mark.parametrize("header", STILL_WRONG)
def test_mixed_family_is_about_the_destination_alone(serve, header):
    assert outcome(serve("loop", LENIENT="mixed-family").port, header) == "refused"


# ---- mistakes ----

def test_every_mistake_is_told_and_listen_fails(run, server_path, rules):
    path = rules("from 10.0.0.1/8 header maybe\n\nfrom all header require timeut 3s\nfrom all timeut\nlog stderr loud\n")
    server = run([server_path, "loop"], environment(TRUST=None, RULES=path, TIMEOUT="never"))
    assert server.line() == "listen: Invalid argument"
    server.process.wait()
    lines = [line.partition("]: ")[2] for line in server.stderr.splitlines()]
    assert lines[3].endswith("or another setting") and not lines[4].endswith("or another setting")
    assert [line.partition("; ")[0] for line in lines] == [
        f'{path}:1: from: "10.0.0.1/8": bits are set behind the prefix length',
        f'{path}:1: header: "maybe"',
        f'{path}:3: "timeut": there is no such setting',
        f'{path}:4: from: "timeut": not an address or prefix',
        f'{path}:5: log: "loud"',
        'TRUEPEER_TIMEOUT: "never"']


def test_number_of_mistakes_told_is_bounded(run, server_path, rules):
    server = run([server_path, "loop"], environment(TRUST=None, RULES=rules("from x\n" * 1000)))
    assert server.line() == "listen: Invalid argument"
    server.process.wait()
    lines = server.stderr.splitlines()
    assert len(lines) == 21 and "980 more" in lines[-1]


def unreadable(tmp_path, kind):
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "huge":
        with open(path, "w") as file:
            file.truncate(1 << 30)
    elif kind == "device":
        return "/dev/zero"
    elif kind == "empty":
        path.touch()
    elif kind == "relative":
        (tmp_path / "relative.rules").write_text("from all")
        return "relative.rules"
    return path


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "huge", "device", "empty", "relative"])
def test_file_that_holds_no_rules_closes_the_door(run, serve, server_path, tmp_path, kind):
    path = unreadable(tmp_path, kind)
    variables = {"TRUST": None, "RULES": path, "LOG": "stderr"}
    server = run([server_path, "loop"], environment(**variables))
    assert server.line() == "listen: Invalid argument"
    server.process.wait()
    [line] = server.stderr.splitlines()
    assert str(path) in line
    with listener() as inherited:
        server = serve("loop", "-l", inherited.fileno(), fds=[inherited.fileno()], **variables)
        for data in v1(), b"hello", b"":
            assert is_refused(server.port, data)


@pytest.mark.parametrize("ends", ["\n", "\r\n", ""])
def test_line_ends_do_not_matter(serve_by, ends):
    server = serve_by(f"# rules{ends or chr(10)}from 127.0.0.1{ends}".encode())
    assert outcome(server.port, v1()) == "client"


def test_variable_beside_a_file_is_not_half_a_rule(run, server_path, rules):
    server = run([server_path, "loop"], environment(TRUST=None, RULES=rules("from 127.0.0.1"), UNTRUSTED="reject"))
    assert server.line() == "listen: Invalid argument"
    server.process.wait()
    [line] = server.stderr.splitlines()
    assert "TRUEPEER_UNTRUSTED" in line and "TRUEPEER_TRUST" in line


# ---- /etc/truepeer.rules, in a view of /etc that only the server has ----

FIXED = "/etc/truepeer.rules"
OVER_ETC = """
mount -t tmpfs none "$1" && mkdir "$1/upper" "$1/work" &&
mount -t overlay none -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc &&
cp "$2" /etc/truepeer.rules && chown "$3" /etc/truepeer.rules && chmod "$4" /etc/truepeer.rules || exit 77
shift 4
exec env LD_PRELOAD="$PRELOAD" "$@"
"""


@pytest.fixture
def run_with_fixed(run, server_path, rules, tmp_path):
    """Starts the test server, or another program, where /etc/truepeer.rules says this."""
    if os.geteuid():
        pytest.skip("only root can give a program another /etc")
    mounts = tmp_path / "etc"
    mounts.mkdir()
    command = [*private_mounts(), "sh", "-c", OVER_ETC, "sh", mounts]
    if subprocess.run([*command, "/dev/null", "0:0", "644", "true"], timeout=PATIENCE).returncode == 77:
        pytest.skip("no overlay can be mounted here")

    def start(text, owner="0:0", mode="644", program=(server_path, "loop"), **variables):
        env = environment(**{"TRUST": None, **variables})
        env["PRELOAD"] = env.pop("LD_PRELOAD")
        return run([*command, rules(text), owner, mode, *program], env)
    return start


def test_fixed_file_is_used_when_no_variable_makes_a_rule(run_with_fixed):
    for variables in {}, {"LOG": "stderr"}, {"TRUST": ""}, {"MAX_PENDING": "16"}:
        server = run_with_fixed("from 127.0.0.1\n", **variables).listening()
        assert outcome(server.port, v1()) == "client"
        assert outcome(server.port, b"hello") == "refused"
        assert outcome(server.port, v1(), "127.0.0.2") == "untouched"


def test_fixed_file_is_not_used_when_a_variable_makes_a_rule(run_with_fixed, tmp_path):
    server = run_with_fixed("nonsense", TRUST="127.0.0.2").listening()
    assert outcome(server.port, v1()) == "untouched"
    assert outcome(server.port, v1(), "127.0.0.2") == "client"
    named = tmp_path / "named.rules"
    named.write_text("from 127.0.0.2")
    server = run_with_fixed("nonsense", RULES=named).listening()
    assert outcome(server.port, v1(), "127.0.0.2") == "client"


def test_variable_beside_the_fixed_file_is_not_half_a_rule(run_with_fixed):
    server = run_with_fixed("from 127.0.0.1", UNTRUSTED="reject")
    assert server.line() == "listen: Invalid argument"
    server.process.wait()
    [line] = server.stderr.splitlines()
    assert "TRUEPEER_UNTRUSTED" in line and "TRUEPEER_TRUST" in line


def test_fixed_file_without_a_rule_is_no_file(run_with_fixed):
    server = run_with_fixed("# from 127.0.0.1\n").listening()
    assert outcome(server.port, v1()) == "untouched"
    [line] = server.stderr.splitlines()
    assert FIXED in line


@pytest.mark.parametrize("text, owner, mode", [("from 127.0.0.1", "1:1", "644"), ("from 127.0.0.1", "0:0", "664"),
                                               ("from 127.0.0.1", "0:0", "646"), ("from x", "0:0", "644")])
def test_fixed_file_that_is_wrong_closes_the_door(run_with_fixed, text, owner, mode):
    server = run_with_fixed(text, owner, mode)
    assert server.line() == "listen: Invalid argument"
    server.process.wait()
    [line] = server.stderr.splitlines()
    assert FIXED in line


# ---- a server that changes its root directory before it listens ----

def outcome_in_an_empty_root(program):
    """Whether it listened there and was told the client, or what failed."""
    line = program.line()
    return "the client" if program.process.wait(PATIENCE) == 0 else line


def test_fixed_file_is_kept_for_another_root(run_with_fixed, surroundings):
    program = (surroundings, "in_an_empty_root")
    assert outcome_in_an_empty_root(run_with_fixed("from loopback\n", program=program)) == "the client"
    for wrong in {"text": "from x\n"}, {"text": "from loopback\n", "mode": "666"}:
        line = outcome_in_an_empty_root(run_with_fixed(**wrong, program=program, LOG="none"))
        assert "listen(" in line and "Invalid argument" in line


def test_named_file_is_kept_for_another_root(run, surroundings, rules):
    env = environment(TRUST=None, RULES=rules("from loopback\n"))
    assert outcome_in_an_empty_root(run([surroundings, "in_an_empty_root"], env)) == "the client"
    env = environment(TRUST=None, RULES=rules("from x\n"), LOG="none")
    assert "listen(" in outcome_in_an_empty_root(run([surroundings, "in_an_empty_root"], env))
