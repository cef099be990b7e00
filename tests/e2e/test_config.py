# SPDX-License-Identifier: MIT
"""The variables: what they do, and what a mistake in one does."""

import ipaddress
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import (ask, connect, environment, eventually, exchange, free_port, is_refused, listener,
                     name, parse, v1, v1_six, v2)

CLIENT = "inet 203.0.113.7 56324"
ELSEWHERE = "192.0.2.0/24"  # trusted, but no connection comes from there


def served_untouched(port, data=v1(), host="127.0.0.1"):
    """True when the server sees the connection as the kernel does, and all the data."""
    with connect(port, host) as client:
        answer = parse(exchange(client, data))
        me = name(client.getsockname())
    return answer.peer.replace("::ffff:", "").split()[1:] == me.split()[1:] and answer.payload == data


def served_as_client(port, data=v1(), host="127.0.0.1"):
    answer = ask(port, data, b"payload", host=host)
    return answer.peer.replace("inet6 ::ffff:", "inet ") == CLIENT and answer.payload == b"payload"


# ---- mistakes ----

MISTAKES = {
    "TRUST": ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8x", "10.0.0.0/", "10.0.0.0/-1", "10.0.0/8", "300.0.0.1",
              "2001:db8::1/32", "::1/129", "::1/", ":::/0", "localhost", "10.0.0.0/8 loopbacks"],
    "LISTEN": ["65536", "25x", "30-20", "25-", "-25", "smtp", "192.0.2.1:", "192.0.2.1:x", "[::1]", "[::1:25",
               "25,,x"],
    "HEADER": ["maybe", "Require", "require optional"],
    "UNTRUSTED": ["drop", "PASS"],
    "VERSIONS": ["3", "v1", "1 3"],
    "TIMEOUT": ["fast", "3h", "-1", "3sx", "3 s"],
    "MAX_HEADER": ["4k", "big", "65552", "-1"],
    "IPV6": ["yes", "4"],
    "SOCKNAME": ["balancer", "header kernel"],
    "INHERITED": ["64", "stdin", "0,x"],
    "PROGRAMS": ["/usr/sbin/sshd", "server sbin/sshd"],
    "STATS": ["truepeer.stats", "./x", "/run/x zero"],
    "LOG": ["loud", "file:", "stderr,debug"],
}
mistakes = pytest.mark.parametrize("variable, value", [(k, v) for k, vs in MISTAKES.items() for v in vs])


def wrong_word(value):
    return value.replace(",", " ").split()[-1]


@mistakes
def test_mistake_makes_listen_fail_with_one_line(run, server_path, variable, value):
    server = run([server_path, "loop"], environment(**{variable: value}))
    assert server.line() == "listen: Invalid argument"
    server.process.wait()
    [line] = server.stderr.splitlines()
    assert f"TRUEPEER_{variable}" in line and wrong_word(value) in line


@pytest.mark.parametrize("mode", ["loop", "epoll"])
def test_mistake_makes_an_inherited_listener_refuse(serve, mode):
    with listener() as inherited:
        server = serve(mode, "-l", inherited.fileno(), fds=[inherited.fileno()], TRUST="10.0.0.1/8")
        for data in v1(), v2(), b"hello", b"":
            assert is_refused(server.port, data)
    lines = server.stderr.splitlines()
    assert len([line for line in lines if "TRUEPEER_TRUST" in line and "10.0.0.1/8" in line]) == 1


def test_mistake_does_not_matter_to_a_program_that_accepts_nothing(run):
    program = run(["/bin/echo", "fine"], environment(TRUST="10.0.0.1/8"))
    assert program.line() == "fine"
    assert program.process.wait() == 0 and program.stderr == ""


def test_inherited_listener_serves_as_any_other(serve):
    with listener() as inherited:
        server = serve("loop", "-l", inherited.fileno(), fds=[inherited.fileno()])
        assert served_as_client(server.port)
        assert is_refused(server.port, b"hello")


# ---- TRUEPEER_TRUST ----

def test_without_trust_nothing_is_touched_and_one_warning_says_so(serve):
    server = serve("loop", TRUST=None)
    for data in v1(), v2(), b"", b"hello":
        assert served_untouched(server.port, data)
    [line] = server.stderr.splitlines()
    assert "TRUEPEER_TRUST" in line


@pytest.mark.parametrize("trust", ["loopback", "all", "127.0.0.1", "127.0.0.1/32", "127.0.0.0/8", "0.0.0.0/0",
                                   "10.0.0.0/8,127.0.0.0/8", "::1 127.0.0.1", " private,  loopback "])
@pytest.mark.parametrize("options", [[], ["-6"]], ids=["inet", "inet6"])
def test_trusted_source_names_the_client(serve, trust, options):
    server = serve("loop", *options, TRUST=trust)
    assert served_as_client(server.port)
    assert server.stderr == ""


@pytest.mark.parametrize("trust", ["private", ELSEWHERE, "127.0.0.2", "126.0.0.0/8", "::1", "::/0"])
@pytest.mark.parametrize("options", [[], ["-6"]], ids=["inet", "inet6"])
def test_header_of_an_untrusted_source_is_payload(serve, trust, options):
    server = serve("loop", *options, TRUST=trust)
    for data in v1(), v2(), b"hello":
        assert served_untouched(server.port, data)


@pytest.mark.parametrize("trust", ["::1", "loopback", "all", "::/0", "::1/128"])
def test_trusted_ipv6_source_names_the_client(serve, trust):
    listener("::1").close()
    server = serve("loop", "-6", TRUST=trust)
    assert served_as_client(server.port, host="::1")


def test_untrusted_source_can_be_rejected(serve):
    server = serve("loop", TRUST=ELSEWHERE, UNTRUSTED="reject")
    for data in v1(), v2(), b"hello", b"":
        assert is_refused(server.port, data)


def test_untrusted_source_can_be_passed(serve):
    server = serve("loop", TRUST=ELSEWHERE, UNTRUSTED="pass")
    assert served_untouched(server.port)


# ---- TRUEPEER_LISTEN ----

@pytest.mark.parametrize("scope", ["{0}", "1,{0}", "{1}-{2}", "{0}-{0}", "1-65535", "127.0.0.1:{0}",
                                   "127.0.0.1:{1}-{2}", "0.0.0.0:{0}", "[2001:db8::1]:1 {0}"])
@pytest.mark.parametrize("options", [[], ["-6"]], ids=["inet", "inet6"])
def test_listener_in_scope_reads_headers(serve, scope, options):
    port = free_port()
    serve("loop", *options, "-p", port, LISTEN=scope.format(port, port - 1, port + 1))
    assert served_as_client(port)
    assert is_refused(port, b"hello")


@pytest.mark.parametrize("scope", ["{2}", "1-{1}", "{2}-65535", "127.0.0.2:{0}", "127.0.0.1:{1}", "[::1]:{0}"])
@pytest.mark.parametrize("options", [[], ["-6"]], ids=["inet", "inet6"])
def test_listener_out_of_scope_is_untouched(serve, scope, options):
    port = free_port()
    serve("loop", *options, "-p", port, LISTEN=scope.format(port, port - 1, port + 1))
    for data in v1(), b"hello":
        assert served_untouched(port, data)


def test_ipv6_address_in_scope_reads_headers(serve):
    port = free_port("::1")
    serve("loop", "-6", "-p", port, LISTEN=f"[::1]:{port}")
    assert served_as_client(port, host="::1")
    assert served_untouched(port)


# ---- TRUEPEER_HEADER and TRUEPEER_VERSIONS ----

def test_header_is_required_unless_said_otherwise(serve):
    server = serve("loop")
    assert served_as_client(server.port)
    assert is_refused(server.port, b"hello")
    assert is_refused(server.port)  # the end, and no header


def test_header_can_be_optional(serve):
    server = serve("loop", HEADER="optional")
    for data in b"hello", b"GET / HTTP/1.0\r\n\r\n", b"\r\n\r\nx", b"PROXX", bytes(range(256)):
        assert served_untouched(server.port, data)
    assert served_as_client(server.port, v1())
    assert served_as_client(server.port, v2())


def test_silent_client_is_served_at_the_deadline_where_a_header_is_optional(serve):
    server = serve("loop", HEADER="optional", TIMEOUT="300ms")
    start = time.monotonic()
    with connect(server.port) as client:
        data = client.recv(1000)  # the server speaks first
        assert parse(data).peer == name(client.getsockname())
    assert 0.29 < time.monotonic() - start < 3


def test_broken_header_is_refused_even_where_it_is_optional(serve):
    server = serve("loop", HEADER="optional")
    assert is_refused(server.port, b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n")
    assert is_refused(server.port, v2()[:12] + b"\x31" + v2()[13:])


@pytest.mark.parametrize("versions, taken, not_taken", [("1", [v1()], [v2()]), ("2", [v2()], [v1()]),
                                                        ("1 2", [v1(), v2()], []), ("2,1", [v1(), v2()], [])])
def test_versions_are_taken_as_asked(serve, versions, taken, not_taken):
    server = serve("loop", VERSIONS=versions)
    for header in taken:
        assert served_as_client(server.port, header)
    for header in not_taken:
        assert is_refused(server.port, header)


# ---- TRUEPEER_TIMEOUT and TRUEPEER_MAX_HEADER ----

def time_to_reset(port, pieces=(), gap=0.01):
    """Seconds from connecting until the reset; the pieces are sent that far apart."""
    start = time.monotonic()
    with connect(port) as client:
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for piece in pieces:
                client.sendall(piece)
                client.settimeout(gap)
                try:
                    assert client.recv(1) == b"never"
                except TimeoutError:
                    client.settimeout(20)
            assert client.recv(1) == b"never"
    return time.monotonic() - start


def test_silent_connection_is_reset_at_the_deadline(serve):
    server = serve("loop", TIMEOUT="300ms")
    assert 0.29 < time_to_reset(server.port) < 3


def test_dripping_connection_is_reset_at_the_deadline(serve):
    server = serve("loop", TIMEOUT="300ms")
    long = v2(tlvs=b"\x04\x03\xe8" + bytes(1000))
    drops = [long[i:i + 1] for i in range(len(long))]
    assert 0.29 < time_to_reset(server.port, drops, gap=0.02) < 3


def test_header_that_comes_in_time_is_waited_for(serve):
    server = serve("loop", TIMEOUT="1m")
    header = v1()
    with connect(server.port) as client:
        assert parse(exchange(client, header[:9], header[9:] + b"payload", gap=0.3)).peer == CLIENT


def test_timeout_is_in_seconds_or_as_said(serve):
    servers = [serve("loop", TIMEOUT=text) for text in ("1", "1s", "1000ms")]
    with ThreadPoolExecutor() as pool:
        times = list(pool.map(lambda server: time_to_reset(server.port), servers))
    assert all(0.95 < t < 2.9 for t in times), times


def test_timeout_is_three_seconds_unless_set(serve):
    assert 2.9 < time_to_reset(serve("loop").port) < 10


def padded(size):
    return v2(tlvs=b"\x04" + (size - 31).to_bytes(2, "big") + bytes(size - 31))


@pytest.mark.parametrize("variables, longest", [({}, 4096), ({"MAX_HEADER": "100"}, 100)])
def test_header_is_as_long_as_allowed_and_no_longer(serve, variables, longest):
    server = serve("loop", **variables)
    assert served_as_client(server.port, padded(longest))
    assert is_refused(server.port, padded(longest + 1))


def test_header_too_long_is_refused_before_it_is_there(serve):
    server = serve("loop", TIMEOUT="1m")
    assert time_to_reset(server.port, [padded(5000)[:16]]) < 5


# ---- TRUEPEER_IPV6: an IPv6 client on an IPv4 listener ----

def test_ipv6_client_gets_a_stable_pseudo_address(serve):
    def pseudo(server, source):
        answer = ask(server.port, v1_six(source), b"payload")
        assert answer.accept == answer.peer and answer.payload == b"payload"
        family, host, port = answer.peer.split()
        assert (family, port) == ("inet", "56324")
        assert ipaddress.ip_address(host) in ipaddress.ip_network("240.0.0.0/4")
        assert host != "255.255.255.255"
        return host

    one, other = serve("loop"), serve("fork", IPV6="pseudo", LOG="stderr,info")
    host = pseudo(one, "2001:db8::7")
    assert pseudo(one, "2001:db8::7") == pseudo(other, "2001:db8::7") == host
    assert pseudo(one, "2001:db8::8") != host
    eventually(lambda: any(host in line and "2001:db8::7" in line for line in other.stderr.splitlines()),
               "the pair is logged")


def test_ipv6_client_can_be_reported_as_such(serve):
    answer = ask(serve("loop", IPV6="report").port, v1_six(), b"payload")
    assert answer == ("inet6 2001:db8::7 56324", "inet6 2001:db8::7 56324", "", b"payload")


def test_ipv6_client_can_be_kept_as_the_balancer(serve):
    server = serve("loop", IPV6="keep")
    with connect(server.port) as client:
        answer = parse(exchange(client, v1_six(), b"payload"))
        me = name(client.getsockname())
    assert answer == (me, me, "", b"payload")


def test_ipv6_client_can_be_rejected(serve):
    server = serve("loop", IPV6="reject")
    assert is_refused(server.port, v1_six())
    assert served_as_client(server.port)


@pytest.mark.parametrize("how", ["pseudo", "report", "keep", "reject"])
def test_ipv4_mapped_client_on_an_ipv4_listener_is_ipv4(serve, how):
    server = serve("loop", IPV6=how)
    for header in v1_six("::ffff:203.0.113.7"), v2("::ffff:203.0.113.7", destination="2001:db8::1"):
        assert ask(server.port, header).peer == CLIENT


@pytest.mark.parametrize("how", ["pseudo", "report", "keep", "reject"])
def test_ipv6_listener_reports_every_client_as_the_kernel_does(serve, how):
    server = serve("loop", "-6", IPV6=how)
    assert ask(server.port, v1_six()).peer == "inet6 2001:db8::7 56324"
    assert ask(server.port, v1()).peer == "inet6 ::ffff:203.0.113.7 56324"


# ---- TRUEPEER_LOG ----

BAD = b"PROXY TCP9 \x1b[31m\x07\x9b\n\r\x7f 1.2.3.4 1 2\r\n"


def test_refusal_is_logged_in_one_line(serve):
    server = serve("loop")
    assert is_refused(server.port, BAD)
    [line] = server.stderr.splitlines()
    assert "127.0.0.1" in line


def test_control_bytes_never_reach_the_log(serve):
    server = serve("loop", LOG="stderr,info")
    assert is_refused(server.port, BAD)
    assert is_refused(server.port, b"\x1b]0;owned\x07\r\n")
    log = server.log.read_bytes()
    assert log and all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in log), log


@pytest.mark.parametrize("level", ["", ",warning", ",info"])
def test_log_can_be_a_file(serve, tmp_path, level):
    log = tmp_path / "truepeer.log"
    server = serve("loop", LOG=f"file:{log}{level}")
    assert is_refused(server.port, BAD)
    assert "127.0.0.1" in log.read_text() and server.stderr == ""


def test_log_file_is_appended_to(serve, tmp_path):
    log = tmp_path / "truepeer.log"
    log.write_text("kept\n")
    assert is_refused(serve("loop", LOG=f"file:{log}").port, BAD)
    assert log.read_text().startswith("kept\n") and len(log.read_text()) > 5


def test_log_can_be_none(serve):
    server = serve("loop", LOG="none")
    assert is_refused(server.port, BAD)
    assert server.stderr == ""


def test_refusals_are_below_the_level_of_errors(serve):
    server = serve("loop", LOG="stderr,error")
    assert is_refused(server.port, BAD)
    assert server.stderr == ""


def test_log_is_rate_limited(serve):
    server = serve("loop")
    for _ in range(300):
        assert is_refused(server.port, BAD)
    assert 0 < len(server.stderr.splitlines()) < 200
