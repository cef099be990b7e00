# SPDX-License-Identifier: MIT
"""truepeer decode: every vector, every way in, and wrong usage."""

import json
import subprocess

import pytest
from conftest import TRUEPEER, VECTORS, assert_wrong, truepeer
from harness import reference, v1, v2

VALID = ("proxy", "local")
ERRORS = {"invalid": "invalid: ", "incomplete": "incomplete: ", "none": "not a PROXY header"}


def decoded(data, status=0):
    done = truepeer("decode", "--json", input=data)
    assert done.returncode == status, (done.stdout, done.stderr)
    assert done.stdout.isascii() and done.stderr == b""
    return json.loads(done.stdout)


def expected_command(vector, data):
    if vector["expect"] == "proxy":
        return "PROXY"
    if data.startswith(b"PROXY"):
        return "UNKNOWN"
    return "PROXY" if data[12] & 1 else "LOCAL"


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_vector(vector):
    data = bytes.fromhex(vector["hex"])
    got = decoded(data, 0 if vector["expect"] in VALID else 1)
    if vector["expect"] not in VALID:
        assert got["error"].startswith(ERRORS[vector["expect"]])
        assert set(got) == {"error", "offset"} and 0 <= got["offset"] <= len(data)
        return
    assert got["version"] == (1 if data.startswith(b"PROXY") else 2)
    assert got["command"] == expected_command(vector, data)
    assert got["length"] == vector["len"]
    assert got["follows"] == len(data) - vector["len"]
    # The reference knows of the addresses of datagrams what the vectors leave out.
    known = vector if vector["tlvs"] is not None else reference.parse(data)
    if "dotted" in vector["note"]:
        known = vector
    for key in "family", "src", "dst", "sport", "dport":
        assert got[key] == known[key] or reference.same_addr(known["family"], got[key], known[key]), key
    tlvs = [[tlv["type"], tlv["hex"]] for tlv in got["tlvs"]]
    assert tlvs == (known["tlvs"] or [])
    assert got["crc32c"] == ("ok" if 3 in [tlv[0] for tlv in tlvs] else "absent")


def test_ways_in(tmp_path):
    header = v2() + b"more"
    path = tmp_path / "-header"
    path.write_bytes(header)
    ways = [truepeer("decode", "--json", input=header), truepeer("decode", "--json", "-", input=header),
            truepeer("decode", "--json", path), truepeer("decode", "--json", "--", path.name, cwd=tmp_path),
            truepeer("decode", "--json", "--hex", header.hex()),
            truepeer("decode", "--json", "--hex", " " + header.hex(":").upper() + "\n"),
            truepeer("decode", "--json", "--hex", header.hex(" "))]
    assert all(done.returncode == 0 for done in ways)
    assert len({done.stdout for done in ways}) == 1
    assert json.loads(ways[0].stdout)["follows"] == 4


def test_what_follows_is_counted_beyond_what_is_kept():
    assert decoded(v1() + bytes(3_000_000))["follows"] == 3_000_000


SSL = bytes.fromhex("20001707000000002100075 44c5376312e33220005616c696365".replace(" ", ""))


def test_text_names_everything():
    tlvs = (b"\x01\0\x02h2" + b"\x02\0\x0bexample.org" + SSL + b"\xea\0\x08\x01vpce-12" + b"\xe0\0\x08" + b"\0" * 7 + b"\7"
            + b"\xee\0\x05\x01\x02\x01\0\0" + b"\xe5\0\x01x")
    lines = truepeer("decode", input=v2(tlvs=tlvs) + b"GET /\r\n\x1b[31m").stdout.decode().split("\n")
    assert [line.strip() for line in lines] == [
        "version     2", "command     PROXY", "family      inet", "transport   stream",
        "source      203.0.113.7:56324", "destination 198.51.100.1:443",
        f"length      {28 + len(tlvs)} bytes", "crc32c      absent", "tlvs",
        '0x01 ALPN, 2 bytes: "h2"', '0x02 AUTHORITY, 11 bytes: "example.org"',
        "0x20 SSL, 23 bytes: client 0x07, TLS, certificate on this connection, "
        "certificate in this session; verify 0",
        '0x21 SSL_VERSION, 7 bytes: "TLSv1.3"', '0x22 SSL_CN, 5 bytes: "alice"',
        "0xEA AWS, 8 bytes", '0x01 AWS_VPCE_ID, 7 bytes: "vpce-12"',
        "0xE0 GCP_PSC_CONNECTION_ID, 8 bytes: 7", "0xEE AZURE, 5 bytes",
        "0x01 AZURE_PRIVATEENDPOINT_LINKID, 4 bytes: 258", '0xE5 CUSTOM, 1 bytes: "x"',
        'follows     12 bytes: "GET /\\r\\n\\x1b[31m"', ""]


def test_values_are_escaped():
    wild = 'a"\\\x1b]0;\x07\u202e\N{SNOWMAN}\U0001f600'.encode() + b"\xff\xc0\xaf\xed\xa0\x80\xf5"
    header = v2(tlvs=b"\x02" + len(wild).to_bytes(2, "big") + wild)
    assert decoded(header)["tlvs"][0]["value"] == wild.decode(errors="replace")
    text = truepeer("decode", input=header).stdout
    assert text.isascii() and b"\x1b" not in text and rb'"a\"\\\x1b]0;\x07\xe2\x80\xae' in text


@pytest.mark.parametrize("data, offset, reason", [
    (b"", 0, "incomplete"), (b"PROXY TCP4", 10, "incomplete"), (v2()[:20], 20, "incomplete"),
    (b"GET / HTTP/1.0\r\n", 0, "not a PROXY header"), (b"PROXy TCP4", 4, "not a PROXY header"),
    (v2()[:5] + b"!" + v2()[6:], 5, "not a PROXY header"),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", 29, "not a port"),
    (v2()[:13] + b"\x41" + v2()[14:], 13, "unknown family"),
    (v2(tlvs=b"\x03\0\x04abcd"), 28, "CRC32C does not match"),
])
def test_offset_of_the_error(data, offset, reason):
    got = decoded(data, 1)
    assert got["offset"] == offset and reason in got["error"]
    text = truepeer("decode", input=data).stdout.decode()
    assert text == f"{got['error']} (at byte {offset})\n"


@pytest.mark.parametrize("words, named", [
    (["--bogus"], "--bogus"), (["--hex"], "hex"), (["--hex", "0d0"], '"0"'), (["--hex", "0dxy"], '"xy"'),
    (["--hex", "0d", "file"], '"file"'), (["one", "two"], '"two"'),
    (["-z"], "z"), (["--json=1"], "json"),
])
def test_wrong_usage(words, named):
    assert_wrong(truepeer("decode", *words), named)


def test_unreadable_file(tmp_path):
    assert_wrong(truepeer("decode", tmp_path / "none\x1b"), r'none\x1b": No such file', 1)
    assert_wrong(truepeer("decode", tmp_path), "Is a directory", 1)


def test_output_that_cannot_be_written():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([TRUEPEER, "decode"], input=v2(), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"No space left" in done.stderr
