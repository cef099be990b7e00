# SPDX-License-Identifier: MIT
"""truepeer send: what it sends, how it carries, and wrong usage; decode reads it back."""

import json
import os
import pty
import select
import socket
import subprocess
import threading
import time

import pytest
from conftest import TRUEPEER, VECTORS, assert_wrong, environment, truepeer
from harness import PATIENCE, eventually, listener, reference

HOST = "127.0.0.1"


@pytest.fixture
def sink():
    with listener(HOST) as made:
        made.settimeout(PATIENCE)
        yield made


def accepted(server):
    connection, _ = server.accept()
    connection.settimeout(PATIENCE)
    return connection


def port(server):
    return server.getsockname()[1]


def received(server, *options, input=b"", host=HOST):
    """What arrives, whole, when truepeer send runs to its end."""
    got = []

    def take():
        with accepted(server) as connection:
            got.append(b"".join(iter(lambda: connection.recv(65536), b"")))
    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    done = truepeer("send", *options, host, port(server), input=input)
    assert (done.returncode, done.stderr) == (0, b"")
    taker.join()
    return got[0]


def decoded(data):
    done = truepeer("decode", "--json", input=data)
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout)


# ---- headers ----

def options_of(shown):
    """The options that make send say what decode has shown."""
    version = f"--v{shown['version']}"
    if shown["command"] == "LOCAL":
        return [version, "--local"]
    if shown["src"] is None:
        return [version, "--unknown"]
    options = [version]
    for side, number in ("src", "sport"), ("dst", "dport"):
        address = {"inet": f"{shown[side]}:{shown[number]}", "inet6": f"[{shown[side]}]:{shown[number]}",
                   "unix": f"unix:{shown[side]}"}[shown["family"]]
        options += [f"--{side}", address]
    options += ["--dgram"] if shown["transport"] == "dgram" else []
    options += ["--crc32c"] if shown["crc32c"] == "ok" else []
    for tlv in shown["tlvs"]:
        if tlv["name"] != "CRC32C":
            options += ["--tlv", f"{tlv['type']}=hex:{tlv['hex']}"]
    return options


def meaning(shown):
    """What must come back: a block that is skipped unread does not, and checksums move to the end."""
    if shown["src"] is None:
        return shown["version"], shown["command"]
    tlvs = [tlv for tlv in shown["tlvs"] if tlv["name"] != "CRC32C"]
    return {**shown, "tlvs": tlvs, "follows": 0}


VALID = [vector for vector in VECTORS if vector["len"] and vector["len"] < 40000]


def test_every_valid_vector_comes_back(sink):
    assert len(VALID) > 130
    for vector in VALID:
        shown = decoded(bytes.fromhex(vector["hex"])[:vector["len"]])
        again = decoded(received(sink, *options_of(shown)))
        if shown["version"] == 1:  # the text of an address is not unique: zero groups, dotted tails
            del again["length"], shown["length"]
        assert meaning(again) == meaning(shown), vector["id"]


def test_the_longest_header(sink):
    """Too long for one word of a command line as hexadecimal; two TLVs do it."""
    value = "x" * 32756
    data = received(sink, "--src", "192.0.2.1:1", "--dst", "192.0.2.2:2",
                    "--tlv", f"0xe1={value}", "--tlv", f"0xe2={value}12345")
    assert len(data) == 65551 and decoded(data)["length"] == len(data)
    done = truepeer("send", "--tlv", f"0xe1={value}", "--tlv", f"0xe2={value}123456", HOST, port(sink))
    assert_wrong(done, "65551")


def test_addresses_are_the_connections_unless_given(sink):
    shown = decoded(received(sink))
    assert (shown["version"], shown["src"], shown["dst"], shown["dport"]) == (2, HOST, HOST, port(sink))
    shown = decoded(received(sink, "--v1", "--src", "203.0.113.7:56324"))
    assert (shown["version"], shown["src"], shown["sport"]) == (1, "203.0.113.7", 56324)
    assert (shown["dst"], shown["dport"]) == (HOST, port(sink))


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_ipv6(host):
    with listener("::1") as server:
        data = received(server, "--v1", "--src", "[2001:db8::7]:9", host=host)
        assert data == f"PROXY TCP6 2001:db8::7 ::1 9 {port(server)}\r\n".encode()


def test_named_tlvs(sink):
    words = ["authority=example.org", "alpn=h2", "unique-id=hex:00ff", "netns=blue", "noop=", "0xE5=a=b", "ssl",
             "ssl-version=TLSv1.3", "ssl-cn=alice", "ssl-client=7", "ssl-verify=0", "aws-vpce-id=vpce-12",
             "gcp-psc-connection-id=18446744072646845442", "azure-privateendpoint-linkid=258"]
    shown = decoded(received(sink, "--crc32c", *(word for tlv in words for word in ("--tlv", tlv))))
    values = {tlv["name"]: tlv.get("value", tlv["hex"]) for tlv in shown["tlvs"]}
    assert values == {
        "AUTHORITY": "example.org", "ALPN": "h2", "UNIQUE_ID": "00ff", "NETNS": "blue", "NOOP": "",
        "CUSTOM": b"a=b".hex(), "AWS": b"\x01vpce-12".hex(), "GCP_PSC_CONNECTION_ID": "18446744072646845442",
        "AZURE": "0102010000", "SSL": values["SSL"], "CRC32C": values["CRC32C"]}
    assert shown["crc32c"] == "ok"
    ssl, = (tlv for tlv in shown["tlvs"] if tlv["name"] == "SSL")
    assert (ssl["client"], ssl["verify"]) == (7, 0)
    assert [tlv["value"] for tlv in ssl["tlvs"]] == ["TLSv1.3", "alice"]


def test_a_wrong_checksum_can_be_sent(sink):
    data = received(sink, "--tlv", "3=hex:00000000")
    assert reference.parse(data)["outcome"] == "invalid"


def test_pieces(sink):
    """--split 5 --delay 50: each piece arrives alone, 50 ms after the one before."""
    process = subprocess.Popen([TRUEPEER, "send", "--v1", "--unknown", "--split", "5", "--delay", "50",
                                HOST, str(port(sink))], stdin=subprocess.DEVNULL, env=environment())
    connection = accepted(sink)
    start, pieces = time.monotonic(), []
    with connection:
        while piece := connection.recv(100):
            pieces.append(piece)
    assert pieces == [b"PROXY", b" UNKN", b"OWN\r\n"]
    assert 0.08 < time.monotonic() - start < PATIENCE
    assert process.wait(PATIENCE) == 0


# ---- carrying ----

def start(server, *, stdin=subprocess.PIPE, stdout=subprocess.PIPE):
    """A running truepeer send, and the server's end with the header (15 bytes) read."""
    process = subprocess.Popen([TRUEPEER, "send", "--v1", "--unknown", HOST, str(port(server))], stdin=stdin,
                               stdout=stdout, stderr=subprocess.PIPE, env=environment(), bufsize=0)
    connection = accepted(server)
    assert connection.recv(15, socket.MSG_WAITALL) == b"PROXY UNKNOWN\r\n"
    return process, connection


def test_megabytes_both_ways_at_once(sink):
    data = os.urandom(5_000_000)
    process, connection = start(sink)
    with connection:
        feeder = threading.Thread(target=lambda: (process.stdin.write(data), process.stdin.close()))
        answerer = threading.Thread(target=lambda: connection.sendall(data))
        reader, out = [], []
        threads = [feeder, answerer,
                   threading.Thread(target=lambda: out.append(process.stdout.read())),
                   threading.Thread(target=lambda: reader.append(
                       b"".join(iter(lambda: connection.recv(65536), b""))))]
        for thread in threads:
            thread.start()
        threads[3].join(PATIENCE)  # our half close comes through
        answerer.join(PATIENCE)
        connection.shutdown(socket.SHUT_WR)
        threads[2].join(PATIENCE)
    assert reader == [data]
    assert out == [data]
    assert process.wait(PATIENCE) == 0


def test_the_answer_comes_after_our_half_close(sink):
    process, connection = start(sink, stdin=subprocess.DEVNULL)
    with connection:
        assert connection.recv(1) == b""
        connection.sendall(b"late\0answer")
    assert process.stdout.read() == b"late\0answer" and process.wait(PATIENCE) == 0


def test_we_go_on_sending_after_the_servers_half_close(sink):
    process, connection = start(sink)
    with connection:
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        process.stdin.write(b"still here")
        process.stdin.close()
        assert b"".join(iter(lambda: connection.recv(100), b"")) == b"still here"
    assert process.wait(PATIENCE) == 0


def used(process):
    """Seconds of processor time."""
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_idle(process):
    before = used(process)
    time.sleep(0.5)
    assert used(process) - before < 0.1


def fill(connection):
    """Sends until nothing moves any more: nobody reads the other end's output."""
    connection.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            connection.send(bytes(1000000))
    eventually(lambda: not select.select([], [connection], [], 0.3)[1], "everything is full")


def test_waiting_for_the_answer_is_idle(sink):
    process, connection = start(sink, stdin=subprocess.DEVNULL)
    with connection:
        assert_idle(process)
    assert process.wait(PATIENCE) == 0


def test_waiting_for_input_after_the_servers_half_close_is_idle(sink):
    process, connection = start(sink)
    with connection:
        connection.shutdown(socket.SHUT_WR)
        assert_idle(process)
        process.stdin.close()
    assert process.wait(PATIENCE) == 0


def test_output_that_is_blocked_holds_up_that_direction_alone(sink):
    process, connection = start(sink)
    with connection:
        connection.sendall(b"odd")
        eventually(lambda: select.select([process.stdout], [], [], 0)[0], "the first bytes are through")
        fill(connection)
        assert_idle(process)
        process.stdin.write(b"upwards")
        connection.settimeout(PATIENCE)
        assert connection.recv(7, socket.MSG_WAITALL) == b"upwards"
        reset(connection)
        assert_idle(process)
    process.kill()
    process.wait(PATIENCE)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def test_a_reset_is_told(sink):
    process, connection = start(sink)
    reset(connection)
    assert process.wait(PATIENCE) == 1
    assert b"reset" in process.stderr.read()


def test_output_that_nobody_reads(sink):
    read, write = os.pipe()
    process, connection = start(sink, stdout=write)
    os.close(write)
    os.close(read)
    with connection:
        connection.sendall(b"x")
        assert process.wait(PATIENCE) == 1
    assert b"standard output: Broken pipe" in process.stderr.read().replace(b'"', b"")


def test_a_terminal_ends_with_the_connection(sink):
    ours, theirs = pty.openpty()
    process, connection = start(sink, stdin=theirs)
    connection.close()
    assert process.wait(PATIENCE) == 0
    os.close(ours)
    os.close(theirs)


def test_closed_standard_descriptors(sink):
    script = 'exec "$0" send --v1 --unknown "$1" "$2" <&- >&- 2>&-'
    process = subprocess.Popen(["sh", "-c", script, TRUEPEER, HOST, str(port(sink))], env=environment())
    connection = accepted(sink)
    with connection:
        assert connection.recv(100) == b"PROXY UNKNOWN\r\n"
        assert connection.recv(100) == b""
        connection.sendall(b"unheard")
    assert process.wait(PATIENCE) in (0, 1)


# ---- wrong usage ----

@pytest.mark.parametrize("words, named", [
    ([], "HOST"), ([HOST], "PORT"), ([HOST, "1", "2"], '"2"'), (["--bogus", HOST, "1"], "--bogus"),
    (["--src", "1.2.3.4", HOST, "1"], '"1.2.3.4"'), (["--src", "::1:25", HOST, "1"], '"::1:25"'),
    (["--dst", "1.2.3.4:65536", HOST, "1"], '"1.2.3.4:65536"'), (["--src", "[::1]", HOST, "1"], '"[::1]"'),
    (["--src", "1.2.3.4:1", "--dst", "[::1]:1", HOST, "1"], "two families"),
    (["--src", "unix:/a", "--dst", "[::1]:1", HOST, "1"], "two families"),
    (["--src", "unix:" + "/" * 109, HOST, "1"], "108"),
    (["--v1", "--v2", HOST, "1"], "--v1 and --v2"), (["--local", "--unknown", HOST, "1"], "--local and --unknown"),
    (["--v1", "--local", HOST, "1"], "LOCAL"), (["--v1", "--crc32c", HOST, "1"], "checksum"),
    (["--tlv", "alpn=h2", "--v1", HOST, "1"], "TLVs"), (["--v1", "--dgram", HOST, "1"], "TCP"),
    (["--v1", "--src", "unix:/a", HOST, "1"], "TCP"), (["--local", "--src", "1.2.3.4:1", HOST, "1"], "addresses"),
    (["--local", "--tlv", "alpn=h2", HOST, "1"], "TLVs"),
    (["--tlv", "bogus=1", HOST, "1"], '"bogus=1"'), (["--tlv", "alpn", HOST, "1"], '"alpn"'),
    (["--tlv", "256=1", HOST, "1"], '"256=1"'), (["--tlv", "=1", HOST, "1"], '"=1"'),
    (["--tlv", "1=hex:0", HOST, "1"], '"1=hex:0"'), (["--tlv", "ssl=1", HOST, "1"], '"ssl=1"'),
    (["--tlv", "crc32c=1234", HOST, "1"], "--crc32c"), (["--tlv", "ssl-client=256", HOST, "1"], "8 bits"),
    (["--tlv", "gcp-psc-connection-id=-1", HOST, "1"], "64 bits"), (["--tlv", "aws=1", HOST, "1"], "aws-vpce-id"),
    (["--split", "0", HOST, "1"], '"0"'), (["--split", "1x", HOST, "1"], '"1x"'),
    (["--delay", "5", HOST, "1"], "--split"), (["--split", "1", "--delay", "-1", HOST, "1"], '"-1"'),
])
def test_wrong_usage(words, named):
    assert_wrong(truepeer("send", *words), named)


def test_no_connection(sink):
    number = port(sink)
    assert_wrong(truepeer("send", "--src", "[::1]:5", HOST, number), "another family")
    sink.close()
    assert_wrong(truepeer("send", HOST, number), "Connection refused", 1)
    assert_wrong(truepeer("send", HOST, "99999"), '"99999"')
    assert_wrong(truepeer("send", HOST, "nosuchservice"), '"nosuchservice"', 1)
    assert_wrong(truepeer("send", "host.invalid", 1), '"host.invalid"', 1)
