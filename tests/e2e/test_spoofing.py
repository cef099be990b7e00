# SPDX-License-Identifier: MIT
"""A stranger is never believed: every way we know to be taken for somebody else, tried.

127.0.0.1 and ::1 are the balancer, 127.0.0.2 is the stranger. What needs a program that
does odd things with its sockets runs in this file again, as a program with the library.
"""

import contextlib
import os
import socket
import struct
import subprocess
import sys

import pytest

from harness import (PATIENCE, ask, connect, environment, eventually, exchange, foreign, is_refused, name,
                     parse, reference, v1, v1_six, v2)

BALANCER, STRANGER = "127.0.0.1", "127.0.0.2"
CLIENT = "inet 203.0.113.7 56324"
FORGED = "198.18.0.66"  # whom the forger wants to be
LOCAL = reference.SIG + b"\x20\x00\x00\x00"
TCP_FASTOPEN_KEY = 33

both = pytest.mark.parametrize("header", [v1(FORGED), v2(FORGED)], ids=["v1", "v2"])
everyhow = pytest.mark.parametrize("mode, rooms", [("loop", None), ("epoll", None), ("poll", "1024"), ("epoll", "1024"),
                                                   ("threads", "1024")])


def peer(answer):
    assert answer.accept == answer.peer, answer
    return answer.peer


# ---- who may send a header ----

CUTS = {"whole": [], "first byte": [1], "in the middle": [20], "before the end": [-1], "byte by byte": None}


def pieces(data, cuts):
    """The data, cut at these places, or everywhere."""
    at = [0, *(cut % len(data) for cut in (range(1, len(data)) if cuts is None else cuts)), len(data)]
    return [data[a:b] for a, b in zip(at, at[1:])]


@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
@both
@everyhow
def test_header_of_a_stranger_is_payload_however_it_comes(serve, mode, rooms, header, cuts):
    server = serve(mode, TRUST=BALANCER, MAX_PENDING=rooms)
    with connect(server.port, source=STRANGER) as client:
        answer = parse(exchange(client, *pieces(header, cuts), b"payload"))
        assert peer(answer) == name(client.getsockname())
        assert answer.payload == header + b"payload"
    assert peer(ask(server.port, *pieces(header, cuts), source=BALANCER)) == f"inet {FORGED} 56324"


@both
def test_stranger_is_not_believed_between_the_balancers_connections(serve, header):
    server = serve("epoll", TRUST=BALANCER)
    with contextlib.ExitStack() as stack:
        for i in range(50):
            balancer, stranger = (stack.enter_context(connect(server.port, source=source))
                                  for source in (BALANCER, STRANGER))
            stranger.sendall(header)
            balancer.sendall(v1("203.0.113.7", 1000 + i))
            for client, wanted in (stranger, name(stranger.getsockname())), \
                                  (balancer, f"inet 203.0.113.7 {1000 + i}"):
                line = b""
                while not line.endswith(b"\n"):
                    line += client.recv(1)
                assert peer(parse(line)) == wanted


@both
def test_header_on_a_listener_out_of_scope_is_payload(serve, header):
    server = serve("loop", LISTEN="1")
    answer = ask(server.port, header)
    assert peer(answer).startswith("inet 127.0.0.1 ") and answer.payload == header


# ---- what a trusted source relays ----

@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
@pytest.mark.parametrize("first, wanted", [(v1(), CLIENT), (v2(), CLIENT), (LOCAL, "inet 127.0.0.1 "),
                                           (b"PROXY UNKNOWN\r\n", "inet 127.0.0.1 "),
                                           (v1(BALANCER), "inet 127.0.0.1 56324")],
                         ids=["v1", "v2", "local", "unknown", "claims the balancer"])
@both
@pytest.mark.parametrize("rooms", [None, "1024"])
def test_second_header_is_payload(serve, header, first, wanted, together, rooms):
    server = serve("epoll", MAX_PENDING=rooms)
    with connect(server.port) as client:
        answer = parse(exchange(client, *[first + header] if together else [first, header], gap=0.05))
    assert peer(answer).startswith(wanted) and answer.payload == header


@pytest.mark.parametrize("before", [b"\n", b" ", b"\0", b"\r", b"p", b"\r\n"], ids=repr)
@both
def test_header_behind_anything_else_is_none(serve, before, header):
    assert is_refused(serve("loop").port, before + header)
    answer = ask(serve("loop", HEADER="optional").port, before + header)
    assert peer(answer).startswith("inet 127.0.0.1 ") and answer.payload == before + header


@both
@pytest.mark.parametrize("rooms", [None, "1024"])
def test_header_behind_the_deadline_of_an_optional_one_is_payload(serve, header, rooms):
    server = serve("epoll", HEADER="optional", TIMEOUT="100ms", MAX_PENDING=rooms)
    with connect(server.port) as client:
        line = client.makefile("rb", 0).readline()
        assert peer(parse(line)) == name(client.getsockname())
        assert exchange(client, header) == header


def test_urgent_bytes_smuggle_nothing(serve):
    server = serve("loop", TIMEOUT="300ms")
    begun, ended = v1()[:20], v1()[20:]
    with connect(server.port) as client:
        client.sendall(begun[:-1])
        client.send(begun[-1:], socket.MSG_OOB)
        client.sendall(ended)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with connect(server.port) as client:
        client.sendall(v1())
        client.send(b"P", socket.MSG_OOB)
        assert parse(exchange(client, v2(FORGED))) == (CLIENT, CLIENT, "", v2(FORGED))


# ---- IPv4 in IPv6 ----

@pytest.mark.parametrize("trust", ["::/0", "::1", "::ffff:127.0.0.1", "::127.0.0.2", "::7f00:2"])
@both
def test_ipv4_stranger_is_not_trusted_by_an_ipv6_prefix(serve, trust, header):
    server = serve("loop", "-6", TRUST=trust)
    with connect(server.port, source=STRANGER) as client:
        answer = parse(exchange(client, header))
        assert peer(answer) == "inet6 ::ffff:127.0.0.2 {1}".format(*client.getsockname())
        assert answer.payload == header


@pytest.mark.parametrize("trust", ["::/0", "127.0.0.0/8", "::ffff:0:0/96"])
def test_mapped_and_plain_senders_are_told_apart(serve, trust):
    """IPv6 strangers by an IPv4 prefix, IPv4 ones by ::/0, and the mapped prefix is IPv4."""
    server = serve("loop", "-6", TRUST=trust)
    four, six = (ask(server.port, v1(FORGED), host=host).payload == b"" for host in ("127.0.0.1", "::1"))
    assert (four, six) == (trust != "::/0", trust == "::/0")


@pytest.mark.parametrize("claim", ["::ffff:203.0.113.7", "::ffff:cb00:7107", "0:0:0:0:0:ffff:203.0.113.7"])
def test_mapped_claim_is_the_ipv4_client(serve, claim):
    assert peer(ask(serve("loop", "-6").port, v1_six(claim))) == "inet6 ::ffff:203.0.113.7 56324"
    assert peer(ask(serve("loop").port, v1_six(claim))) == CLIENT


# ---- size, and the log ----

def noops(size):
    """TLVs without meaning, of so many bytes in all."""
    return b"".join(struct.pack("!BH", 4, part - 3) + bytes(part - 3)
                    for part in [1000] * (size // 1000 - 1) + [1000 + size % 1000])


@pytest.mark.parametrize("rooms", [None, "1024"])
def test_256_kib_of_tlvs_are_a_header_and_payload(serve, rooms):
    header = v2(tlvs=noops(65535 - 12))
    assert header[14:16] == b"\xff\xff"
    more = noops(256 * 1024 - len(header)) + v2(FORGED)
    server = serve("epoll", MAX_HEADER="65551", MAX_PENDING=rooms)
    answer = ask(server.port, header + more)
    assert peer(answer) == CLIENT and answer.payload == more
    assert is_refused(serve("epoll", MAX_PENDING=rooms).port, header + more)


LIES = b"\ntruepeer[1]: client 198.18.0.66:1 by way of 127.0.0.1:2\r\n", b"\x1b[2J\x1b]0;owned\x07", \
    b"\x9b31m\xc2\x9b\xe2\x80\xae", b"%s%n\\x0a\"; it begins \"", b"\0\n<3>kernel: panic\n"


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
@pytest.mark.parametrize("before", [b"", b"PROXY TCP4 ", b"PROXY UNKNOWN\n", reference.SIG + b"\x21\x11\xff\xff"],
                         ids=["alone", "v1", "v1 unknown", "v2"])
def test_log_says_only_what_we_say(serve, before, lie):
    server = serve("loop", LOG="stderr,info")
    assert is_refused(server.port, before + lie)
    log = eventually(server.log.read_bytes, "the line is written")
    [line] = log.splitlines()
    assert line.startswith(b"truepeer[%d]: refused 127.0.0.1:" % server.pid)
    assert all(0x20 <= byte < 0x7F for byte in line)
    assert line.count(b'"') == line.count(b'\\"') + 2


# ---- programs that do odd things with their sockets ----

CASES = {}


def peer_of_descriptor(fd):
    """For one that has become another socket: Python's object remembers the family."""
    with socket.socket(fileno=os.dup(fd)) as again:
        return again.getpeername()


def case(function):
    CASES[function.__name__] = function
    return function


def accept_from(listener, source, data=b""):
    """A connection from there, as (the client's end, the server's, what accept said)."""
    client = connect(listener.getsockname()[1], source=source)
    client.sendall(data)
    connection, said = listener.accept()
    return client, connection, said


@case
def descriptor_of_a_client_is_reused_by_a_stranger(listener):
    for _ in range(100):
        client, connection, said = accept_from(listener, BALANCER, v1(FORGED))
        assert said == connection.getpeername() == (FORGED, 56324)
        stranger = connect(listener.getsockname()[1], source=STRANGER)
        number = connection.fileno()
        connection.close()
        connection, said = listener.accept()
        assert connection.fileno() == number
        assert said == connection.getpeername() == stranger.getsockname()
        for end in client, stranger, connection:
            end.close()


@case
def descriptor_of_a_client_is_overwritten(listener):
    outgoing, accepted, _ = accept_from(listener, STRANGER)
    pair = socket.socketpair()
    for other in accepted, outgoing, pair[0]:
        _, connection, said = accept_from(listener, BALANCER, v1(FORGED))
        assert said == connection.getpeername() == (FORGED, 56324)
        os.dup2(other.fileno(), connection.fileno())
        assert other.getpeername() == peer_of_descriptor(connection.fileno())
        assert FORGED not in peer_of_descriptor(connection.fileno())


@case
def key_of_the_listener_is_not_inherited(listener):
    """Not even one that looks like a record."""
    listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_KEY, RECORD)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    stranger, connection, said = accept_from(listener, STRANGER)
    assert said == connection.getpeername() == stranger.getsockname()


# A record of layout 1, which names FORGED port 1; and what is none.
RECORD = bytes.fromhex("d37e915ac42be801") + b"\x04\x00\x00\x01" + socket.inet_aton(FORGED) + bytes(16)
NO_RECORDS = {
    "another version": RECORD[:7] + b"\x02" + RECORD[8:],
    "an older version": RECORD[:7] + b"\x00" + RECORD[8:],
    "another tag": b"\x00" + RECORD[1:],
    "another family": RECORD[:8] + b"\x0a" + RECORD[9:],
    "another report": RECORD[:9] + b"\x02" + RECORD[10:],
    "IPv6 in half a record": RECORD[:8] + b"\x06" + RECORD[9:16],
    "a stray key": bytes(range(32)),
    "half a stray key": bytes(range(16)),
    "zeros": bytes(32),
}


@case
def key_of_the_program_is_no_record(listener):
    """Where it overwrites one, the connection is the kernel's again."""
    for source, data in (STRANGER, b""), (BALANCER, v1(FORGED)):
        client, connection, _ = accept_from(listener, source, data)
        for what, key in NO_RECORDS.items():
            connection.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_KEY, key)
            assert connection.getpeername() == client.getsockname(), what
        connection.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_KEY, RECORD)
        assert connection.getpeername() == (FORGED, 1)  # so the others were nearly right


@case
def connection_of_the_program_has_its_own_peer(listener):
    """Even where the program itself plays the balancer."""
    out = connect(listener.getsockname()[1], source=BALANCER)
    out.sendall(v1(FORGED))
    connection, said = listener.accept()
    assert said == connection.getpeername() == (FORGED, 56324)
    assert out.getpeername() == listener.getsockname()


@case
def stranger_is_passed_and_stays_a_stranger(listener):
    one, other = socket.socketpair()
    for source, data in (BALANCER, v1(FORGED)), (STRANGER, b""):
        client, connection, said = accept_from(listener, source, data)
        socket.send_fds(one, [b"x"], [connection.fileno()])
        connection.close()
        _, [number], _, _ = socket.recv_fds(other, 1, 1)
        assert socket.socket(fileno=number).getpeername() == said


@foreign
@pytest.mark.parametrize("rooms", [None, "1024"])
@pytest.mark.parametrize("slot", [True, False], ids=["slot", "table"])
@pytest.mark.parametrize("function", CASES)
def test_program(noslot, function, slot, rooms):
    if not slot and function.startswith("key_"):
        pytest.skip("the program cannot set a key either")
    env = environment(TRUST=BALANCER, MAX_PENDING=rooms, preload=[] if slot else [noslot])
    subprocess.run([sys.executable, __file__, function], env=env, check=True, timeout=PATIENCE)


if __name__ == "__main__":
    CASES[sys.argv[1]](socket.create_server(("127.0.0.1", 0)))
