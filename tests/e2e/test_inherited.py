# SPDX-License-Identifier: MIT
"""TRUEPEER_INHERITED: connections that somebody else has accepted, and whose header is unread."""

import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from harness import (HERE, PATIENCE, ask, connect, delivered, environment, eventually, exchange, find, foreign,
                     free_port, is_refused, listener, listens, name, parse, v1, v1_six, v2)
from test_servers import connected_from
from test_stats import counted

CLIENT = "inet 203.0.113.7 56324"


@pytest.fixture
def superserver(server_path, tmp_path):
    """superserver(command, *fds, **variables): a port whose connections a child gets under these numbers.

    The one that accepts is this process, which knows nothing of the library.
    """
    with contextlib.ExitStack() as stack:
        def start(command=None, fds=(0,), host="127.0.0.1", made=None, env=(), **variables):
            made = stack.enter_context(made or listener(host))
            env = {**environment(**{"INHERITED": "0", **variables}), **dict(env)}
            command = list(map(str, command or [server_path, "child"]))

            def run():
                with contextlib.suppress(OSError):  # the test is over
                    while True:
                        connection, _ = made.accept()
                        with connection:
                            spawn(command, env, connection, fds, tmp_path)
            thread = threading.Thread(target=run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(made.shutdown, socket.SHUT_RDWR)
            return made.getsockname()[1]
        yield start


def spawn(command, env, connection, fds, folder):
    def place():
        low = os.dup2(connection.fileno(), 100)
        for fd in fds:
            os.dup2(low, fd)
        os.close(low)
    with open(folder / "stderr", "ab") as log:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                              preexec_fn=place, close_fds=False, timeout=PATIENCE)
    (folder / "status").write_text(str(done.returncode))


# ---- the client ----

@pytest.mark.parametrize("header", [v1(), v2(), v2(tlvs=b"\x04\x03\xe8" + bytes(1000))], ids=["v1", "v2", "tlvs"])
@pytest.mark.parametrize("fds", [(0,), (0, 1, 2)], ids=["input", "inetd"])
def test_client_is_reported(superserver, header, fds):
    port = superserver(fds=fds)
    for _ in range(2):
        assert ask(port, header, b"payload") == ("-", CLIENT, "", b"payload")


def test_connections_are_counted_by_their_own_address(superserver, tmp_path):
    file = tmp_path / "stats"
    port = superserver(STATS=file)
    for header in v1(), v2():
        assert ask(port, header).peer == CLIENT
    assert is_refused(port, b"hello")
    assert eventually(lambda: counted(file, port), "all are counted") == {"proxied": 2, "rejected no_header": 1}


def test_ipv6_client_is_reported(superserver):
    assert ask(superserver(host="::1"), v1_six(), host="::1").peer == "inet6 2001:db8::7 56324"


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_header_in_pieces_is_waited_for(superserver, header):
    answer = ask(superserver(TIMEOUT="1m", MAX_PENDING="100"), header[:9], header[9:] + b"payload")
    assert answer == ("-", CLIENT, "", b"payload")


@pytest.mark.parametrize("variables", [{"INHERITED": None}, {"INHERITED": ""}, {"INHERITED": "1,63"},
                                       {"INHERITED": "listen-fds"}, {"TRUST": None}, {"TRUST": "192.0.2.1"},
                                       {"LISTEN": "1"}, {"PROGRAMS": "another"}], ids=str)
def test_others_are_left_alone(superserver, variables):
    with connect(superserver(**variables)) as client:
        answer = parse(exchange(client, v1(), b"payload"))
        assert (answer.peer, answer.payload) == (name(client.getsockname()), v1() + b"payload")


def test_silent_client_is_served_where_a_header_is_optional(superserver):
    with connect(superserver(HEADER="optional", TIMEOUT="200ms")) as client:
        assert parse(client.recv(1000)).peer == name(client.getsockname())


# ---- refusals ----

REFUSED = {
    "no header": (b"hello", {}),
    "malformed": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", {}),
    "cut": (v1()[:20], {}),
    "empty": (b"", {}),
    "not this version": (v1(), {"VERSIONS": "2"}),
    "untrusted": (v1(), {"TRUST": "192.0.2.1", "UNTRUSTED": "reject"}),
    "mistake": (v1(), {"TRUST": "10.0.0.1/8"}),
    "mistake in it": (v1(), {"INHERITED": "1 zero"}),
    "mistake in it alone": (v1(), {"INHERITED": "64"}),
}


@foreign
@pytest.mark.parametrize("data, variables", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("fds", [[0], [0, 1, 2], [5, 9]], ids=str)
def test_refused_connection_is_reset_and_its_descriptors_stay_ended(superserver, tmp_path, data, variables, fds):
    with open(tmp_path / "output", "wb") as output:
        inherited = ",".join(map(str, fds))
        script = [sys.executable, "-B", HERE / "names.py", "serve", *fds]
        port = superserver(script, fds, env={"OUTPUT": str(output.fileno())},
                           **{"INHERITED": inherited, "TIMEOUT": "5s", **variables}, LOG="none")
        os.set_inheritable(output.fileno(), True)
        assert is_refused(port, data)
        told = eventually(lambda: (tmp_path / "output").read_text().splitlines()[4 * len(fds):]
                          and (tmp_path / "output").read_text(), "the server looked at its descriptors")
    *each, last, asked = told.splitlines()
    assert each[::4] == ["peer=Transport endpoint is not connected"] * len(fds)
    assert each[2::4] == ["reads=Connection reset by peer"] + ["reads=b''"] * (len(fds) - 1)
    assert each[3::4] == ["writes=Broken pipe"] * len(fds)
    assert int(last.removeprefix("next=")) not in fds and asked == "asked=False"


def test_silent_connection_is_reset_at_the_deadline(superserver):
    start = time.monotonic()
    with connect(superserver(TIMEOUT="300ms")) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    assert 0.29 < time.monotonic() - start < 5


def reset_after(data):
    """A connection whose client has sent this and reset it; what was sent can still be read."""
    with listener() as made, connect(made.getsockname()[1]) as client:
        connection, _ = made.accept()
        client.sendall(data)
        eventually(lambda: delivered(client), "the data is there")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    poll = select.poll()
    poll.register(connection, 0)  # its end shows all the same
    assert poll.poll(PATIENCE * 1000)
    return connection


@pytest.mark.parametrize("plain", [True, pytest.param(False, marks=foreign)], ids=["plain", "library"])
def test_connection_that_was_reset_before_the_start_is_not_read(plain):
    data = v1() + b"payload"
    with reset_after(data) as connection:
        done = subprocess.run(["cat"], env=environment(plain, INHERITED="0"), stdin=connection, capture_output=True,
                              timeout=PATIENCE)
    assert done.stdout == (data if plain else b"")


def test_refusal_is_logged_in_a_file(superserver, tmp_path):
    log = tmp_path / "log"
    with connect(superserver(LOG=f"file:{log}", fds=(0, 1, 2))) as client, pytest.raises(ConnectionResetError):
        exchange(client, b"hello")
    assert "no PROXY header" in log.read_text()


# ---- what is no connection with an unread header ----

def test_header_is_read_once_under_a_superserver_that_has_the_library(spawner, server_path):
    server = spawner(environment(), [server_path, "child"])
    second = v1("198.51.100.9")
    assert ask(server.port, v1(), second) == ("-", CLIENT, "", second)


@foreign
def test_header_is_read_once_by_the_first_of_two_programs(superserver, server_path):
    port = superserver(["/bin/sh", "-c", 'TRUEPEER_INHERITED=0 exec "$0" child', server_path])
    second = v1("198.51.100.9")
    assert ask(port, v1(), second) == ("-", CLIENT, "", second)


OTHERS = {
    "file": lambda: os.open(__file__, os.O_RDONLY),
    "pipe": lambda: os.pipe()[0],
    "listener": lambda: listener().detach(),
    "datagrams": lambda: datagrams().detach(),
    "unix": lambda: socket.socketpair()[0].detach(),
}


def datagrams():
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        receiver.connect(sender.getsockname())
        sender.sendto(v2(), receiver.getsockname())
    return receiver


@foreign
@pytest.mark.parametrize("kind", OTHERS)
def test_other_descriptors_are_left_alone(kind):
    fd = OTHERS[kind]()
    os.set_blocking(fd, False)
    start = time.monotonic()
    done = subprocess.run(["/bin/true"], env=environment(INHERITED="0"), stdin=fd, capture_output=True,
                          timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"") and time.monotonic() - start < 2
    if kind == "datagrams":
        assert os.read(fd, 1000) == v2()
    os.close(fd)


def test_connection_of_another_process_is_left_alone(superserver):
    """LISTEN_PID says for whom LISTEN_FDS is."""
    port = superserver(INHERITED="listen-fds", env={"LISTEN_PID": "1", "LISTEN_FDS": "1"}, fds=(0, 3))
    assert ask(port, v1()).payload == v1()


# ---- systemd ----

@pytest.fixture
def activated(run):
    """activated(*options, command=..., inherited=...): a port of systemd-socket-activate, which lacks the library."""
    program = find("systemd-socket-activate", "systemd")

    def start(*options, command, inherited):
        port = free_port()
        env = environment(INHERITED=inherited)
        passed = [f"--setenv={key}={value}" for key, value in env.items()
                  if key.startswith(("TRUEPEER_", "LD_PRELOAD"))]
        activate = run([program, "--accept", f"--listen=127.0.0.1:{port}", *options, *passed, *command],
                       environment(plain=True))
        eventually(lambda: listens(port), activate.stderr)
        return port
    return start


@pytest.mark.parametrize("options, inherited", [(["--inetd"], "0"), (["--inetd"], "0,1"),
                                                pytest.param([], "listen-fds", marks=foreign),
                                                pytest.param([], "3", marks=foreign)])
def test_systemd_accepts_and_the_client_is_reported(activated, server_path, options, inherited):
    child = [server_path, "child"] if options else ["/bin/sh", "-c", 'exec "$0" child <&3', server_path]
    port = activated(*options, command=child, inherited=inherited)
    for header in v1(), v2():
        assert ask(port, header, b"payload") == ("-", CLIENT, "", b"payload")


@foreign
@pytest.mark.parametrize("inherited, client", [("0", "203.0.113.7"), (None, "127.1.2.3")])
def test_vsftpd_under_systemd_logs_the_client(activated, tmp_path, inherited, client):
    log, config = tmp_path / "vsftpd.log", tmp_path / "vsftpd.conf"
    config.write_text(f"""\
listen=NO
run_as_launching_user=YES
anonymous_enable=YES
local_enable=NO
xferlog_enable=YES
vsftpd_log_file={log}
secure_chroot_dir={tmp_path}
""")
    port = activated("--inetd", command=[find("vsftpd", "vsftpd"), config], inherited=inherited)
    greeting, logged = connected_from(port, log, v1() if inherited else b"")
    assert greeting.startswith(b"220 ") and b"\r\n221 " in greeting
    assert logged.removeprefix("::ffff:") == client


def test_systemd_accepts_and_the_balancer_is_reported_without(activated, server_path):
    port = activated("--inetd", command=[server_path, "child"], inherited=None)
    with connect(port) as client:
        answer = parse(exchange(client, v1()))
        assert (answer.peer, answer.payload) == (name(client.getsockname()), v1())
