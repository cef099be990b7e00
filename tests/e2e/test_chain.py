# SPDX-License-Identifier: MIT
"""TRUEPEER_CHAIN: a header whose client is a trusted source may be followed by another."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import (ask, connect, environment, exchange, foreign, is_refused, name, parse, read_all,
                     v1, v1_six, v2)

CLIENT = "inet 203.0.113.7 56324"
INNER = "inet 127.9.9.9 1111"  # a balancer behind the balancer
LOCAL = v2(command=0)
UNKNOWN = b"PROXY UNKNOWN\r\n"

inner = {"v1": v1("127.9.9.9", 1111), "v2": v2("127.9.9.9", 1111, tlvs=b"\x04\x00\x09" + bytes(9))}
client = {"v1": v1(), "v2": v2()}
versions = [(a, b) for a in inner for b in client]

# Waiting on the spot, and aside: a parked connection keeps what it has learnt.
pending = pytest.mark.parametrize("pending", [None, "64"], ids=["on-the-spot", "parked"])


@pytest.fixture
def chained(serve):
    """chained(pending, mode="loop", CHAIN="1", TIMEOUT="20s"): the test server."""
    def start(pending, mode="loop", **variables):
        return serve(mode, **{"CHAIN": "1", "TIMEOUT": "20s", "MAX_PENDING": pending, **variables})
    return start


def served(server, *pieces, gap=0.001):
    with connect(server.port) as connection:
        return parse(exchange(connection, *pieces, gap=gap))


@pending
@pytest.mark.parametrize("first, second", versions)
def test_second_header_names_the_client(chained, pending, first, second):
    server = chained(pending)
    answer = served(server, inner[first] + client[second] + b"payload")
    assert (answer.accept, answer.peer, answer.payload) == (CLIENT, CLIENT, b"payload")
    assert server.stderr == ""


@pending
@pytest.mark.parametrize("mode", ["loop", "epoll"])
@pytest.mark.parametrize("first, second", versions)
def test_second_header_may_be_late(chained, pending, mode, first, second):
    server = chained(pending, mode)
    for pieces in [(inner[first], client[second] + b"payload"),
                   (inner[first] + client[second][:1], client[second][1:] + b"payload"),
                   (inner[first][:-1], inner[first][-1:] + client[second][:-1], client[second][-1:] + b"payload"),
                   (inner[first][:7], inner[first][7:], client[second], b"payload")]:
        assert served(server, *pieces, gap=0.03) == (CLIENT, CLIENT, "", b"payload")


@pending
def test_headers_may_come_byte_by_byte(chained, pending):
    both = inner["v2"] + client["v1"]
    answer = served(chained(pending), *[both[i:i + 1] for i in range(len(both))], b"payload")
    assert (answer.peer, answer.payload) == (CLIENT, b"payload")


def test_without_chain_a_second_header_is_payload(serve):
    server = serve("loop")
    for second in client.values():
        assert ask(server.port, inner["v1"] + second) == (INNER, INNER, "", second)


@pending
@pytest.mark.parametrize("chain", [1, 2, 3])
def test_chain_is_never_longer_than_allowed(chained, pending, chain):
    server = chained(pending, CHAIN=str(chain))
    links = [v1("127.9.9.9", 2000 + i) for i in range(5)]
    answer = served(server, b"".join(links))
    assert answer.peer == f"inet 127.9.9.9 {2000 + chain}"
    assert answer.payload == b"".join(links[chain + 1:])


@pending
@pytest.mark.parametrize("first", client)
def test_header_of_an_untrusted_client_is_payload(chained, pending, first):
    server = chained(pending, CHAIN="16")
    for second in v1("198.51.100.66"), v2("198.51.100.66"), inner["v1"], LOCAL:
        assert served(server, client[first] + second) == (CLIENT, CLIENT, "", second)
    third = v1("198.51.100.66")
    assert served(server, inner["v1"] + client[first] + third) == (CLIENT, CLIENT, "", third)


@pending
@pytest.mark.parametrize("header", [LOCAL, UNKNOWN, v2(command=1)[:13] + b"\x00\x00\x00"],
                         ids=["local", "unknown", "unspec"])
def test_header_without_a_client_ends_the_chain(chained, pending, header):
    server = chained(pending)
    # first: the balancer itself; whatever follows is its data
    with connect(server.port) as connection:
        answer = parse(exchange(connection, header + v1()))
        me = name(connection.getsockname())
    assert (answer.accept, answer.peer, answer.payload) == (me, me, v1())
    # second: the balancer behind it
    answer = served(server, inner["v1"] + header + v1())
    assert (answer.accept, answer.peer, answer.payload) == (INNER, INNER, v1())


@pending
def test_second_header_is_not_required(chained, pending):
    server = chained(pending)
    for data in b"hello", b"GET / HTTP/1.0\r\n\r\n", b"PROXX", b"\r\n\r\nx", b"":
        assert served(server, inner["v1"] + data) == (INNER, INNER, "", data)
        assert served(server, inner["v2"], data) == (INNER, INNER, "", data)


@pending
@pytest.mark.parametrize("wait", [0, 0.2])
def test_second_header_is_waited_for_until_the_deadline(chained, pending, wait):
    server = chained(pending, TIMEOUT="500ms")
    start = time.monotonic()
    with connect(server.port) as connection:
        time.sleep(wait)
        connection.sendall(inner["v1"])
        answer = parse(connection.recv(1000))  # the server speaks first
    assert answer.peer == INNER
    assert 0.48 < time.monotonic() - start < 3


@pending
def test_second_header_is_held_to_the_same_rules(chained, pending):
    server = chained(pending, VERSIONS="1", TIMEOUT="300ms")
    begun = b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1"
    for second in v2(), b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n", b"PROXY TCP4 ::1 ::1 1 1\r\n", begun:
        assert is_refused(server.port, inner["v1"] + second)
        assert is_refused(server.port, inner["v1"], second)
    with connect(server.port) as connection:
        connection.sendall(inner["v1"] + begun)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pending
def test_first_header_is_held_to_the_rules_when_another_follows(chained, pending):
    server = chained(pending, VERSIONS="2")
    assert served(server, inner["v2"] + client["v2"] + b"x") == (CLIENT, CLIENT, "", b"x")
    assert is_refused(server.port, inner["v1"] + client["v2"])


def test_second_header_is_waited_for_although_the_first_was_deferred(chained):
    server = chained("64", DEFER="on")
    assert served(server, inner["v1"], v2() + b"payload", gap=0.1) == (CLIENT, CLIENT, "", b"payload")


@pending
def test_only_the_last_client_has_to_fit_the_listener(chained, pending):
    server = chained(pending, IPV6="reject")
    assert served(server, v1_six("::1") + v1() + b"x") == (CLIENT, CLIENT, "", b"x")
    assert is_refused(server.port, v1_six("::1"))
    assert is_refused(server.port, inner["v1"] + v1_six("2001:db8::7"))


@pytest.mark.parametrize("mode", ["loop", "epoll"])
def test_nobody_waits_for_a_second_header_of_somebody_else(chained, mode):
    server = chained("64", mode)
    with connect(server.port) as late:
        late.sendall(inner["v1"])
        time.sleep(0.05)
        start = time.monotonic()
        for _ in range(20):
            assert served(server, v1() + b"x").peer == CLIENT
        assert time.monotonic() - start < 2
        assert parse(exchange(late, v2() + b"payload")) == (CLIENT, CLIENT, "", b"payload")


def test_many_chains_at_once(chained):
    server = chained("256", "epoll")

    def one(i):
        header = [v1("127.9.9.9", 1111), v1(f"203.0.113.{i}", 5000 + i)]
        return served(server, *header, b"x", gap=0.05).peer == f"inet 203.0.113.{i} {5000 + i}"
    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(one, range(1, 101)))


# A process for each line of input, all on one listener; each serves one client at a time.
PREFORK = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("listening", listener.getsockname()[1], flush=True)
while sys.stdin.readline():
    if os.fork():
        continue
    while True:
        client, (host, port) = listener.accept()
        client.sendall(b"accept=inet %s %d peer=inet %s %d\\n" % (host.encode(), port, *(
            word.encode() if isinstance(word, str) else word for word in client.getpeername())))
        while data := client.recv(65536):
            client.sendall(data)
        client.close()
"""


@foreign
@pytest.mark.parametrize("rest, client, payload", [(v2() + b"payload", CLIENT, b"payload"),
                                                   (b"payload", INNER, b"payload"),
                                                   (v2() + v1("198.51.100.66"), CLIENT, v1("198.51.100.66"))])
def test_chain_goes_on_in_another_process(tmp_path, rest, client, payload):
    env = environment(CHAIN="1", TIMEOUT="20s", MAX_PENDING="16")
    with open(tmp_path / "log", "w") as log, \
            subprocess.Popen([sys.executable, "-c", PREFORK], env=env, stdin=subprocess.PIPE, text=True, bufsize=1,
                             stdout=subprocess.PIPE, stderr=log, start_new_session=True) as server:
        try:
            port = int(server.stdout.readline().split()[1])
            server.stdin.write("one\n")
            with connect(port) as late, connect(port) as busy:
                late.sendall(inner["v1"])
                time.sleep(0.1)
                busy.sendall(v1("203.0.113.8"))
                assert busy.recv(100).startswith(b"accept=inet 203.0.113.8 ")
                server.stdin.write("two\n")  # the first has turned to a client
                time.sleep(0.1)
                late.sendall(rest)
                late.shutdown(socket.SHUT_WR)
                assert parse(read_all(late)) == (client, client, "", payload)
        finally:
            os.killpg(server.pid, signal.SIGKILL)
    assert (tmp_path / "log").read_text() == ""
