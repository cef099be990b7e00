# SPDX-License-Identifier: MIT
"""Every vector of tests/vectors through the library in a real server."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import HERE, connect, exchange, is_refused, name, parse, reference

VECTORS = reference.load(HERE.parent / "vectors/public.jsonl")
TIMEOUT = 0.2  # what the servers below give an incomplete header
CLIENTS = 4  # as many as the server has threads


def each(*outcomes):
    chosen = [v for v in VECTORS if v["expect"] in outcomes]
    return pytest.mark.parametrize("vector", chosen, ids=[v["id"] for v in chosen])


def data_of(vector):
    return bytes.fromhex(vector["hex"])


def kernel_name(address, six):
    """What a listener that is or is not on [::] reports for an address."""
    host, port = address
    if ":" in host:
        host = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    if six and ":" not in host:
        host = f"::ffff:{host}"
    if not six:
        host = host.removeprefix("::ffff:") if "." in host else host
    return name((host, port))


def check_valid(vector, port, six, cuts=()):
    """The right name, and the payload to the byte; the data are sent in pieces cut there."""
    data, end = data_of(vector), vector["len"]
    payload = data[end:] or b"220 tail\r\nPROXY "
    data = data[:end] + payload
    bounds = [0, *cuts, len(data)]
    with connect(port) as client:
        address = client.getsockname()
        answer = parse(exchange(client, *(data[a:b] for a, b in zip(bounds, bounds[1:]))))
    if vector["expect"] == "proxy":
        address = vector["src"], vector["sport"]
    want = kernel_name(address, six)
    assert (answer.accept, answer.peer, answer.payload) == (want, want, payload), f"cut at {cuts}"


def check_refused(vector, port, cuts=()):
    data = data_of(vector)
    bounds = [0, *cuts, len(data)]
    assert is_refused(port, *(data[a:b] for a, b in zip(bounds, bounds[1:]))), f"cut at {cuts}"


@pytest.fixture(scope="module", params=["loop", "epoll"])
def server(request, serve_long):
    """A loop on 0.0.0.0, and epoll on [::]."""
    server = serve_long(request.param, *["-6"] * (request.param == "epoll"),
                        MAX_HEADER="65551", IPV6="report", LOG="none")
    server.six = request.param == "epoll"
    return server


@pytest.fixture(scope="module")
def threads(serve_long):
    return serve_long("threads", "-6", MAX_HEADER="65551", LOG="none")


@pytest.fixture(scope="module", params=["inet", "inet6"])
def impatient(request, serve_long):
    return serve_long("threads", *["-6"] * (request.param == "inet6"), MAX_HEADER="65551",
                      IPV6="report", TIMEOUT=f"{TIMEOUT * 1000:.0f}ms", LOG="none")


@each("proxy", "local")
def test_valid_header_gives_the_name_and_leaves_the_payload(server, vector):
    check_valid(vector, server.port, server.six)


@each("invalid", "none")
def test_invalid_header_is_reset(server, vector):
    check_refused(vector, server.port)


def test_incomplete_headers_are_reset_at_the_deadline(impatient):
    def silent_end(vector):
        with connect(impatient.port) as client:
            start = time.monotonic()
            client.sendall(data_of(vector))
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            return vector["id"], time.monotonic() - start, vector["also"]

    incomplete = [v for v in VECTORS if v["expect"] == "incomplete"]
    with ThreadPoolExecutor(CLIENTS) as pool:
        ends = list(pool.map(silent_end, incomplete))
    # one that can no longer become valid may be refused at once
    assert [e for e in ends if not e[2] and e[1] < TIMEOUT * 0.9] == []


@each("incomplete")
def test_incomplete_header_and_end_of_file_is_reset(server, vector):
    check_refused(vector, server.port)


def test_bad_headers_do_no_harm_to_the_next(threads):
    good = [v for v in VECTORS if v["expect"] == "proxy"]
    bad = [v for v in VECTORS if v["expect"] == "invalid"]
    for before, vector in zip(bad, good):
        check_refused(before, threads.port)
        check_valid(vector, threads.port, True)


@each("proxy", "local")
def test_every_split_of_a_valid_header(threads, vector):
    n = vector["len"]
    cuts = range(1, n + 1) if n <= 2048 else [*range(1, 300), *range(300, n, 997), *range(n - 40, n + 1)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda cut: check_valid(vector, threads.port, True, [cut]), cuts))


@each("invalid", "none")
def test_every_split_of_an_invalid_header(threads, vector):
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda cut: check_refused(vector, threads.port, [cut]),
                      range(1, len(data_of(vector)))))


def test_a_header_byte_by_byte(threads):
    for wanted in "v1-tcp4-spec", "v1-tcp6-plain":
        vector = next(v for v in VECTORS if v["id"] == wanted)
        check_valid(vector, threads.port, True, range(1, vector["len"]))


def test_without_the_library_the_header_is_payload(serve):
    server = serve("loop", plain=True)
    for vector in VECTORS:
        data = data_of(vector)
        with connect(server.port) as client:
            answer = parse(exchange(client, data))
            assert answer.accept == answer.peer == name(client.getsockname())
            assert answer.payload == data
