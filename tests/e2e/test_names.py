# SPDX-License-Identifier: MIT
"""AF_UNIX listeners, and what getsockname says (TRUEPEER_SOCKNAME)."""

import contextlib
import ctypes
import socket
import struct
import subprocess
import sys
import time
from typing import NamedTuple

import pytest

from harness import (HERE, PATIENCE, connect, environment, eventually, exchange, find, foreign, listener, name, parse,
                     read_all, rules_in, v1, v1_six, v2)
from test_stats import counted, stats

CLIENT, DESTINATION = "inet 203.0.113.7 56324", "inet 198.51.100.1 443"
CLIENT6, DESTINATION6 = "inet6 2001:db8::7 56324", "inet6 2001:db8::1 443"
LONG = v2(tlvs=b"\x04\x0b\xb8" + bytes(3000))
HEADERS = {"v1": v1(), "v2": v2(), "tlvs": v2(tlvs=b"\x04\x03\xe8" + bytes(1000)), "long": LONG}
headers = pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)


class Names(NamedTuple):
    accept: str
    peer: str
    socket: str
    payload: bytes


def told(client, *pieces):
    *lines, payload = exchange(client, *pieces).split(b"\n", 3)
    return Names(*(line.decode().partition("=")[2] for line in lines), payload)


@pytest.fixture
def names(run):
    """names(listener, **variables): the server of names.py on this listener."""
    with contextlib.ExitStack() as stack:
        def start(made, **variables):
            stack.enter_context(made).set_inheritable(True)
            command = [sys.executable, "-B", HERE / "names.py", "listen", made.fileno()]
            return run(command, environment(**variables), fds=[made.fileno()]).listening()
        yield start


# ---- AF_UNIX ----

class Unix:
    """A server on a path, and its clients."""

    def __init__(self, names, path, kind=socket.SOCK_STREAM, **variables):
        self.path, made = str(path), socket.socket(socket.AF_UNIX, kind)
        made.bind(self.path)
        made.listen()
        self.server = names(made, **{"TRUST": "unix", "SOCKNAME": "kernel", **variables})

    def connect(self, kind=socket.SOCK_STREAM):
        client = socket.socket(socket.AF_UNIX, kind)
        client.settimeout(PATIENCE)
        client.connect(self.path)
        return client

    def ask(self, *pieces):
        with self.connect() as client:
            return told(client, *pieces)

    def refuses(self, *pieces):
        with self.connect() as client:
            try:
                return exchange(client, *pieces) == b""
            except (ConnectionResetError, BrokenPipeError):
                return True

    def untouched(self, *pieces):
        return self.ask(*pieces) == ("''", "''", repr(self.path), b"".join(pieces))


@pytest.fixture
def unix(names, tmp_path):
    """unix(**variables): a server on the path `socket`."""
    return lambda **variables: Unix(names, tmp_path / "socket", **variables)


@headers
@pytest.mark.parametrize("trust", ["unix", "unix 10.0.0.0/8", "loopback,unix"])
def test_client_of_a_unix_listener_is_reported_in_the_headers_family(unix, header, trust):
    server = unix(TRUST=trust)
    for _ in range(2):
        assert server.ask(header, b"payload") == (CLIENT, CLIENT, repr(server.path), b"payload")
    assert server.ask(v1_six()).peer == CLIENT6
    assert server.server.stderr == ""


@pytest.mark.parametrize("send", ["send-proxy", "send-proxy-v2"])
def test_haproxy_names_the_client_of_a_unix_listener(unix, run, tmp_path, send):
    program, config = find("haproxy", "haproxy"), tmp_path / "haproxy.cfg"
    server = unix(SOCKNAME="header")
    with listener() as front:
        config.write_text(f"""
            defaults
                mode tcp
                timeout connect {PATIENCE}s
                timeout client {PATIENCE}s
                timeout server {PATIENCE}s
            listen front
                bind fd@{front.fileno()}
                server back unix@{server.path} {send}\n""")
        run([program, "-db", "-f", config], environment(plain=True), [front.fileno()])
        with connect(front.getsockname()[1]) as client:
            me, destination = name(client.getsockname()), name(client.getpeername())
            assert told(client, b"payload") == (me, me, destination, b"payload")


@pytest.mark.parametrize("pending", [None, "100"])
def test_header_in_pieces_is_waited_for_on_a_unix_listener(unix, pending):
    server = unix(TIMEOUT="1m", MAX_PENDING=pending)
    for _ in range(20):
        assert server.ask(LONG[:9], LONG[9:100], LONG[100:], b"payload")[1:4:2] == (CLIENT, b"payload")


@pytest.mark.parametrize("mode", ["fork", "threads", "select", "poll", "poll-blocking", "epoll", "epoll-et"])
@pytest.mark.parametrize("pending", [None, "100"])
def test_every_kind_of_server_reports_the_client_of_a_unix_listener(run, server_path, tmp_path, mode, pending):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
        made.listen()
        made.set_inheritable(True)
        command = [server_path, "-l", made.fileno(), mode]
        run(command, environment(TRUST="unix", MAX_PENDING=pending), fds=[made.fileno()]).listening()
        for pieces in [(v1(),), (v2()[:9], v2()[9:]), (b"hello",)] * 3:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(made.getsockname())
                if pieces == (b"hello",):
                    client.sendall(*pieces)
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
                else:
                    answer = parse(exchange(client, *pieces, b"payload", gap=0.1))
                    assert answer == (CLIENT, CLIENT, "", b"payload")


def test_waiting_for_pieces_does_not_spin(unix):
    server = unix(TIMEOUT="1m")
    with server.connect() as client:
        client.sendall(v1()[:9])
        time.sleep(1)
        spent = sum(map(int, open(f"/proc/{server.server.pid}/stat").read().rpartition(")")[2].split()[11:13]))
        client.sendall(v1()[9:])
        assert told(client).peer == CLIENT
    assert spent < 50  # hundredths of a second, of which starting Python takes some


@pytest.mark.parametrize("data", [v2(command=0), b"PROXY UNKNOWN\r\n"], ids=["local", "unknown"])
def test_header_without_a_client_leaves_a_unix_socket_its_names(unix, data):
    server = unix()
    assert server.ask(data, b"payload") == ("''", "''", repr(server.path), b"payload")


@pytest.mark.parametrize("data", [b"hello", b"", v1()[:20], b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n"])
def test_bad_connection_to_a_unix_listener_is_never_shown(unix, data):
    server = unix()
    assert server.refuses(data)
    assert server.ask(v1()).peer == CLIENT


def test_refusal_names_the_unix_listener(unix):
    server = unix()
    assert server.refuses(b"\x1bhello")
    [line] = server.server.stderr.splitlines()
    assert f'refused a local program on "{server.path}": no PROXY header; it begins "\\x1bhello"' in line


def test_silent_local_program_is_no_load_balancer(unix):
    server = unix(TIMEOUT="100ms")
    with server.connect() as client:
        assert client.recv(1) == b""
    [line] = server.server.stderr.splitlines()
    assert line.endswith(f'refused a local program on "{server.path}": no PROXY header in time')


def test_client_of_a_unix_listener_is_told_and_counted_among_the_others(unix, tmp_path):
    server = unix(LOG="stderr,info", STATS=tmp_path / "stats")
    server.ask(v1())
    assert server.refuses(b"hello")
    assert (f'client 203.0.113.7:56324 by way of a local program on "{server.path}" to 198.51.100.1:443'
            in server.server.stderr)
    [listener] = stats(tmp_path / "stats")["listeners"]
    assert listener["listener"] == "other"
    assert counted(tmp_path / "stats") == {"proxied": 1, "rejected no_header": 1}


@pytest.mark.parametrize("variables", [{"TRUST": "all"}, {"TRUST": "loopback", "UNTRUSTED": "reject"},
                                       {"LISTEN": "1-65535"}, {"LISTEN": "/else/where"},
                                       {"TRUST": "all", "IPV6": "oops"}], ids=str)
def test_unix_listener_is_left_alone_unless_it_is_trusted_and_in_scope(unix, variables):
    server = unix(**variables)
    assert server.untouched(v1(), b"payload") and server.untouched(b"hello")


def test_unix_listener_can_be_in_scope_by_its_path(unix, tmp_path):
    server = unix(LISTEN=f"25,{tmp_path}/socket")
    assert server.ask(v1(), b"payload").peer == CLIENT
    assert server.refuses(b"hello")


def test_unix_listener_may_have_the_longest_path(names, tmp_path):
    """As many bytes as its address holds, and no NUL behind them: more than Python takes."""
    path = f"{tmp_path}/".ljust(108, "x")
    libc, made = ctypes.CDLL(None, use_errno=True), socket.socket(socket.AF_UNIX)
    assert libc.bind(made.fileno(), struct.pack("H108s", socket.AF_UNIX, path.encode()), 110) == 0
    made.listen()
    server = names(made, TRUST="unix", LISTEN=path)
    (tmp_path / "short").symlink_to(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "short"))
        assert told(client, v1(), b"payload").peer == CLIENT
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "short"))
        client.sendall(b"hello")
        eventually(lambda: f'on "{path}": no PROXY header' in server.stderr, "the refusal")


def test_path_in_scope_leaves_tcp_out(names, tmp_path):
    server = names(listener(), LISTEN=f"{tmp_path}/socket")
    with connect(server.port) as client:
        ends = name(client.getsockname()), name(client.getpeername())
        assert told(client, v1(), b"payload")[1:] == (*ends, v1() + b"payload")


@pytest.mark.parametrize("variables", [
    {"TIMEOUT": "never"}, {"TRUST": "10.0.0.1/8 unix"}, {"TRUST": "10.0.0.1;unix"}, {"TRUST": "UNIX"},
    {"LISTEN": "/else/where 0"}, {"TRUST": None, "RULES": "/no/such/file"}, {"TRUST": None, "RULES": "relative"},
    {"TRUST": None, "RULES": "from 10.0.0.1/8 unix"}, {"TRUST": None, "RULES": "frm unix"},
    {"TRUST": None, "RULES": "from 'unix"}, {"TRUST": None, "RULES": "from 127.0.0.1 from unix"}], ids=str)
def test_mistake_closes_a_unix_listener_that_may_be_trusted(unix, tmp_path, variables):
    if " " in variables.get("RULES", ""):
        variables = {**variables, "RULES": rules_in(tmp_path)(variables["RULES"])}
    server = unix(**variables, LOG="none")
    assert server.refuses(v1()) and server.refuses(b"hello")


def test_messages_are_left_alone(names, tmp_path):
    server = Unix(names, tmp_path / "socket", socket.SOCK_SEQPACKET)
    with server.connect(socket.SOCK_SEQPACKET) as client:
        client.sendall(v1())
        assert b"peer=''" in client.recv(1000) and client.recv(1000) == v1()


def test_credentials_of_the_sender_stay(run, tmp_path):
    script = """if True:
        import os, socket, struct, sys
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(sys.argv[1])
            listener.listen()
            client.connect(sys.argv[1])
            client.sendall(b'PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\\r\\n')
            connection, name = listener.accept()
            pid = struct.unpack('iii', connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            print(name, pid == os.getpid())
    """
    program = run([sys.executable, "-c", script, tmp_path / "socket"], environment(TRUST="unix"))
    assert program.line() == "('203.0.113.7', 56324) True"


@pytest.mark.parametrize("room", [0, 1, 8, 15, 16, 27, 28, 110])
@pytest.mark.parametrize("header, size", [(v1(), 16), (v1_six(), 28)], ids=["inet", "inet6"])
def test_names_are_cut_to_the_callers_room(run, tmp_path, room, header, size):
    script = """if True:
        import ctypes, socket, sys
        listener, client = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        listener.bind(sys.argv[1])
        listener.listen()
        client.connect(sys.argv[1])
        client.sendall(bytes.fromhex(sys.argv[2]))
        libc = ctypes.CDLL(None)
        def call(function, fd):
            name, size = ctypes.create_string_buffer(b'\\xee' * 128, 128), ctypes.c_int(int(sys.argv[3]))
            result = function(fd, name, ctypes.byref(size))
            print(size.value, name.raw.hex(), flush=True)
            return result
        call(libc.getpeername, call(libc.accept, listener.fileno()))
    """
    program = run([sys.executable, "-c", script, tmp_path / "socket", header.hex(), room], environment(TRUST="unix"))
    six = size == 28
    whole = struct.pack("=H", socket.AF_INET6 if six else socket.AF_INET) + struct.pack("!H", 56324)
    whole += bytes(4) + socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(4) if six else (
        socket.inet_pton(socket.AF_INET, "203.0.113.7") + bytes(8))
    for _ in range(2):
        assert program.line() == f"{size} {whole[:room].ljust(128, bytes([0xEE])).hex()}"


# ---- TRUEPEER_SOCKNAME ----

@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
@pytest.mark.parametrize("sockname", ["header", "kernel", None])
def test_socket_has_the_name_that_was_asked_for(names, host, sockname):
    server = names(listener(host), SOCKNAME=sockname)
    with connect(server.port, host.replace("::", "::1") if host == "::" else host) as client:
        own = name(client.getpeername())
        answer = told(client, v1_six() if ":" in host else v1(), b"payload")
    want = own if sockname != "header" else DESTINATION6 if ":" in host else DESTINATION
    assert (answer.socket, answer.payload) == (want, b"payload")


def test_ipv4_destination_on_an_ipv6_listener_is_mapped(names):
    server = names(listener("::1"), SOCKNAME="header")
    with connect(server.port, "::1") as client:
        assert told(client, v1()).socket == "inet6 ::ffff:198.51.100.1 443"


def keeps_the_kernels_name(server, header):
    with connect(server.port) as client:
        own = name(client.getpeername())
        return told(client, header).socket == own


@pytest.mark.parametrize("how", ["pseudo", "keep", "report"])
def test_ipv6_destination_is_not_told_where_there_is_only_room_for_ipv4(names, how):
    assert keeps_the_kernels_name(names(listener(), SOCKNAME="header", IPV6=how, LOG="none"), v1_six())


@pytest.mark.parametrize("header", [v2(command=0), b"PROXY UNKNOWN\r\n"], ids=["local", "unknown"])
def test_header_without_a_destination_leaves_the_kernels_name(names, header):
    assert keeps_the_kernels_name(names(listener(), SOCKNAME="header"), header)


def test_untrusted_connection_keeps_the_kernels_name(names):
    assert keeps_the_kernels_name(names(listener(), SOCKNAME="header", TRUST="192.0.2.1"), v1())


@pytest.mark.parametrize("header, want", [(v1(), DESTINATION), (v1_six(), DESTINATION6)], ids=["inet", "inet6"])
def test_unix_socket_has_the_destinations_name(unix, header, want):
    assert unix(SOCKNAME="header").ask(header).socket == want


@pytest.mark.parametrize("host, header, goes", [("127.0.0.1", v1(), True), ("::1", v1_six(), False)],
                         ids=["inet", "inet6"])
def test_ipv4_destination_goes_with_the_socket_to_other_programs(run, host, header, goes):
    """An IPv6 destination has no room on the socket: it is known in the process alone."""
    script = """if True:
        import os, socket, sys
        listener = socket.socket(fileno=int(sys.argv[1]))
        print("listening", listener.getsockname()[1], flush=True)
        connection, _ = listener.accept()
        os.dup2(connection.fileno(), 0)
        os.execv(sys.executable, [sys.executable, "-c",
            "import socket; s = socket.socket(fileno=0); s.sendall(repr(s.getsockname()).encode())"])
    """
    with listener(host) as made:
        server = run([sys.executable, "-c", script, made.fileno()], environment(SOCKNAME="header"), fds=[made.fileno()])
        with connect(server.listening().port, host) as client:
            own = client.getpeername()
            client.sendall(header)
            assert read_all(client).decode() == repr(("198.51.100.1", 443) if goes else own)


@foreign
@pytest.mark.parametrize("sockname, more", [(None, 0), ("kernel", 1), ("header", 1)])
def test_getsockname_costs_a_look_at_the_socket_and_only_where_asked_for(tmp_path, sockname, more):
    strace = find("strace", "strace")
    env, log = environment(SOCKNAME=sockname), tmp_path / "trace"
    sets = [f"--env={k}={v}" for k, v in env.items() if k.startswith(("LD_PRELOAD", "TRUEPEER_"))]
    script = ("import os, socket; s = socket.socket(); os.write(1, b'');"
              "[s.getsockname() for _ in range(10)]; os.write(1, b'')")
    subprocess.run([strace, "-o", log, *sets, sys.executable, "-c", script], env=environment(plain=True), check=True)
    between = log.read_text().split('write(1, "", 0)')[1]
    assert between.count("getsockname(") == 10 and between.count("getsockopt(") == 10 * more


def test_short_room_and_no_room_for_the_name_of_the_socket(run):
    script = """if True:
        import ctypes, socket
        listener = socket.create_server(('127.0.0.1', 0))
        client = socket.create_connection(listener.getsockname())
        client.sendall(b'PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\\r\\n')
        connection, _ = listener.accept()
        libc = ctypes.CDLL(None, use_errno=True)
        name, size = ctypes.create_string_buffer(b'\\xee' * 28, 28), ctypes.c_int(5)
        print(libc.getsockname(connection.fileno(), name, ctypes.byref(size)), size.value, name.raw[:7].hex())
        print(libc.getsockname(connection.fileno(), None, ctypes.byref(size)), ctypes.get_errno())
        print(libc.getsockname(99, name, ctypes.byref(size)), ctypes.get_errno(), flush=True)
    """
    program = run([sys.executable, "-c", script], environment(SOCKNAME="header"))
    assert program.line() == "0 16 020001bbc6eeee"
    assert program.line() == "-1 14"  # EFAULT
    assert program.line() == "-1 9"  # EBADF
