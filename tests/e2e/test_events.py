# SPDX-License-Identifier: MIT
"""What happened: the log, and what a program can ask for (truepeer_get)."""

import ast
import os
import re
import socket
import struct
import subprocess
import sys

import pytest

from harness import (HERE, PATIENCE, connect, environment, eventually, exchange, find, foreign, is_refused, private_mounts,
                     read_all, v1, v1_six, v2)

NLB = "header_placement"


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def tls(verify=0, flags=7, more=b""):
    return tlv(0x20, struct.pack("!BI", flags, verify) + tlv(0x21, b"TLSv1.3") + tlv(0x22, b"alice") +
               tlv(0x23, b"TLS_AES_128_GCM_SHA256") + more)


def last_line(server, start=1):
    return eventually(lambda: server.stderr.splitlines()[start - 1:], "a line is logged")[-1]


def line_for(serve, *pieces, options=(), **variables):
    """The only line that a conversation leaves in the log, without its first word."""
    server = serve("loop", *options, **variables)
    with connect(server.port) as client:
        me, there = (":".join(map(str, name())) for name in (client.getsockname, client.getpeername))
        try:
            exchange(client, *pieces)
        except OSError:
            pass
    [line] = eventually(lambda: server.stderr.splitlines(), "a line is logged")
    return re.sub(r"^truepeer\[\d+\]: ", "", line).replace(me, "SENDER").replace(there, "LISTENER")


# ---- refused connections ----

@pytest.mark.parametrize("data, hint", [
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS hello"),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "an HTTP request"),
    (b"SSH-2.0-OpenSSH_9.2p1\r\n", "an SSH banner"), (b"EHLO client.example\r\n", "an SMTP client")])
def test_refusal_hints_at_what_came_instead(serve, data, hint):
    line = line_for(serve, data)
    assert line.startswith('refused SENDER on LISTENER: no PROXY header; it begins "')
    assert hint in line


def test_refusal_shows_the_first_bytes_and_no_hint_where_there_is_none(serve):
    assert line_for(serve, b"\x00\x1b[2J\xff") == \
        r'refused SENDER on LISTENER: no PROXY header; it begins "\x00\x1b[2J\xff"'


def test_refusal_of_a_malformed_header_says_what_is_wrong(serve):
    line = line_for(serve, b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n")
    assert line.startswith("refused SENDER on LISTENER: ")
    assert "port" in line and '"PROXY TCP4 1.2.3.4 1.2.3.4 1' in line


@pytest.mark.parametrize("rooms", ["0", "16"], ids=["waits", "parks"])
def test_silence_hints_at_the_balancer_that_sends_its_header_late(serve, rooms):
    server = serve("loop", TIMEOUT="200ms", MAX_PENDING=rooms)
    with connect(server.port) as client, pytest.raises(ConnectionResetError):
        read_all(client)
    assert "no PROXY header in time" in last_line(server) and NLB in last_line(server)


def test_half_a_header_does_not_hint_at_that(serve):
    server = serve("loop", TIMEOUT="200ms")
    with connect(server.port) as client, pytest.raises(ConnectionResetError):
        client.sendall(v2()[:20])
        read_all(client)
    assert "no complete header in time" in last_line(server) and NLB not in last_line(server)


def test_probe_is_quiet_unless_asked_for(serve):
    quiet, loud = serve("loop"), serve("loop", LOG="stderr,info")
    for server in quiet, loud:
        connect(server.port).close()
        assert is_refused(server.port, b"GET ")
    [line] = quiet.stderr.splitlines()
    assert "GET" in line
    probe, line = loud.stderr.splitlines()
    assert "closed before a header" in probe and "GET" in line


# ---- a line for each connection ----

def test_client_is_told_with_all_that_identifies_it(serve):
    tlvs = (tlv(0x01, b"h2") + tlv(0x02, b"mail.example.org") + tlv(0x05, b"4711-0815") + tls() +
            tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9"))
    assert line_for(serve, v2(tlvs=tlvs), LOG="stderr,info") == (
        'client 203.0.113.7:56324 by way of SENDER on LISTENER to 198.51.100.1:443 alpn="h2" '
        'authority="mail.example.org" unique-id="4711-0815" tls="TLSv1.3" verified-cn="alice" '
        'cipher="TLS_AES_128_GCM_SHA256" vpc-endpoint="vpce-08d2bf15fac5001c9"')


@pytest.mark.parametrize("block", [tls(verify=1), tls(flags=1)], ids=["not verified", "no certificate"])
def test_name_in_a_certificate_that_was_not_verified_is_not_told(serve, block):
    line = line_for(serve, v2(tlvs=block), LOG="stderr,info")
    assert "TLSv1.3" in line and "alice" not in line


@pytest.mark.parametrize("spoiled", [b"\x20\x00\x03\x07\x00\x00", tlv(0x20, b"\x07\0\0\0\0\x21\x00\xffTLS")],
                         ids=["short", "runs past the end"])
def test_broken_tls_block_does_no_harm(serve, spoiled):
    assert line_for(serve, v2(tlvs=spoiled + tlv(0x02, b"x.example")), LOG="stderr,info") == \
        'client 203.0.113.7:56324 by way of SENDER on LISTENER to 198.51.100.1:443 authority="x.example"'


def test_names_are_told_although_a_certificate_makes_the_header_long(serve):
    line = line_for(serve, v2(tlvs=tlv(0x02, b"x.example") + tls(more=tlv(0x28, bytes(3000)))), LOG="stderr,info")
    assert 'authority="x.example"' in line and 'verified-cn="alice"' in line and "AES" in line


def test_what_a_stranger_chose_cannot_forge_a_line(serve):
    server = serve("loop", LOG="stderr,info")
    evil = b'x"\ntruepeer[1]: client 1.2.3.4:1\x1b]0;owned\x07' + bytes(range(256))
    with connect(server.port) as client:
        exchange(client, v2(tlvs=tlv(0x02, evil) + tlv(0x05, evil[:128]) + tls()))
    last_line(server)
    log = server.log.read_bytes()
    assert log.count(b"\n") == 1 and all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in log)


def test_long_name_that_a_stranger_chose_does_not_push_the_others_out(serve):
    tlvs = tlv(0x02, b"\x1b" * 255) + tlv(0x05, b"u" * 128) + tls() + tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9")
    line = line_for(serve, v2(tlvs=tlvs), LOG="stderr,info")
    assert r'authority="%s"...' % (r"\x1b" * 128) in line and "u" * 128 in line
    assert 'verified-cn="alice"' in line and line.endswith('vpc-endpoint="vpce-08d2bf15fac5001c9"')


def test_version_1_client_is_told(serve):
    assert line_for(serve, v1(), LOG="stderr,info") == \
        "client 203.0.113.7:56324 by way of SENDER on LISTENER to 198.51.100.1:443"


@pytest.mark.parametrize("variables, data, words", [
    ({}, v2(command=0), "LOCAL header"), ({}, b"PROXY UNKNOWN\r\n", "the header names no TCP client"),
    ({"HEADER": "optional"}, b"hello", "no PROXY header"),
    ({"IPV6": "keep"}, v1_six(), "IPv6 client on an IPv4 listener"),
    ({"TRUST": "192.0.2.0/24"}, b"hello", "not from a trusted source")])
def test_connection_under_its_own_address_is_told_with_the_reason(serve, variables, data, words):
    assert line_for(serve, data, LOG="stderr,info", **variables) == f"client SENDER on LISTENER: {words}"


@pytest.mark.parametrize("variables, data", [({}, v2()), ({}, v2(command=0)), ({"TRUST": "192.0.2.0/24"}, b"hello")])
def test_connections_that_are_let_in_are_quiet_unless_asked_for(serve, variables, data):
    server = serve("loop", **variables)
    with connect(server.port) as client:
        exchange(client, data)
    assert server.stderr == ""


# ---- targets ----

@pytest.fixture
def private_dev(run, tmp_path):
    """private_dev(argv, **variables): a program whose /dev is a folder of ours, and that folder."""
    unshare = private_mounts()
    if os.geteuid() != 0:
        pytest.skip("a private /dev needs root")
    dev = tmp_path / "dev"
    dev.mkdir()

    def start(argv, **variables):
        script = 'mount --bind "$0" /dev && exec "$@"'
        sets = [f"{k}={v}" for k, v in environment(**variables).items() if k.startswith(("TRUEPEER_", "LD_PRELOAD"))]
        return run([*unshare, "sh", "-c", script, dev, "env", *sets, *argv], environment(plain=True)).listening()
    return dev, start


def system_log(dev):
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.settimeout(PATIENCE)
    log.bind(str(dev / "log"))
    return log


def test_system_log_gets_lines_with_the_servers_name(private_dev, server_path):
    dev, start = private_dev
    with system_log(dev) as log:
        server = start([server_path, "loop"], LOG="syslog")
        assert is_refused(server.port, b"hello")
        line = log.recv(65536).decode()
    assert re.fullmatch(r'<28>server\[\d+\]: truepeer: refused .*"hello"', line), line
    assert server.stderr == ""


def test_system_log_that_was_started_anew_is_found_again(private_dev, server_path):
    dev, start = private_dev
    with system_log(dev) as log:
        server = start([server_path, "loop"], LOG="syslog")
        assert is_refused(server.port, b"one")
        assert b'"one"' in log.recv(65536)
    assert is_refused(server.port, b"nobody listens")
    (dev / "log").unlink()
    assert is_refused(server.port, b"nor is there a socket")
    with system_log(dev) as log:
        assert is_refused(server.port, b"two")
        assert b'"two"' in log.recv(65536)


@foreign
def test_system_log_is_written_to_from_a_chroot(private_dev, tmp_path):
    dev, start = private_dev
    (tmp_path / "empty").mkdir()
    with system_log(dev) as log:
        server = start([sys.executable, "-B", HERE / "pyserver.py", "dropped", tmp_path / "empty"], LOG="syslog")
        for _ in range(8):
            assert is_refused(server.port, b"hello")
            assert b'"hello"' in log.recv(65536)


# ---- truepeer_get ----

@pytest.fixture
def answer(run):
    """answer(data, **variables): what a program learns of a connection; and its sender's port."""
    def get(data, plain=False, **variables):
        server = run([sys.executable, "-B", HERE / "pyserver.py", "ask"], environment(plain, **variables)).listening()
        with connect(server.port) as client:
            text = exchange(client, data).decode().strip()
            me = client.getsockname()
        return ast.literal_eval(text) if text.startswith("{") else text, me
    return get


DIRECT, LOCAL, PROXIED = range(3)


def test_program_without_the_library_finds_no_truepeer_get(answer):
    assert answer(b"x", plain=True)[0] == "not there"


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_program_learns_client_sender_and_destination(answer, header):
    info, me = answer(header)
    assert info == {"kind": PROXIED, "client": ("203.0.113.7", 56324), "sender": me,
                    "destination": ("198.51.100.1", 443), "size": 400, "later": "untouched"}


def test_program_learns_the_true_address_of_an_ipv6_client(answer):
    info, _ = answer(v1_six())
    assert (info["kind"], info["client"], info["destination"]) == (PROXIED, ("2001:db8::7", 56324), None)


@pytest.mark.parametrize("data, variables, kind", [(v2(command=0), {}, LOCAL), (b"x", {"HEADER": "optional"}, LOCAL),
                                                   (b"x", {"TRUST": "192.0.2.0/24"}, DIRECT)])
def test_program_learns_that_the_sender_is_the_client(answer, data, variables, kind):
    info, me = answer(data, **variables)
    assert (info["kind"], info["client"], info["sender"], info["destination"]) == (kind, me, me, None)


@foreign
def test_truepeer_get_fails_as_getpeername_does():
    script = """if True:
        import os, socket, sys
        sys.path.insert(0, sys.argv[1])
        import pyserver
        with socket.socket() as fresh, open("/dev/null") as null:
            size = pyserver.ctypes.sizeof(pyserver.Info)
            print(*(pyserver.info(fd, size) for fd in (fresh.fileno(), null.fileno(), -1)))
            print(pyserver.info(fresh.fileno(), 300))
        a, b = socket.socketpair()
        print(pyserver.info(a.fileno(), size))
    """
    done = subprocess.run([sys.executable, "-B", "-c", script, HERE], env=environment(), capture_output=True, text=True,
                          timeout=PATIENCE, check=True)
    failures, too_small, pair = done.stdout.splitlines()
    assert (failures, too_small) == ("ENOTCONN ENOTSOCK EBADF", "EINVAL")
    assert ast.literal_eval(pair)["client"] is None and ast.literal_eval(pair)["kind"] == DIRECT
