# SPDX-License-Identifier: MIT
"""What comes in at a daemon's door, and whom the daemon must then name (truepeer(7),
"What is reported").  Every mode has a client of its own, so that no log line of another counts."""

import ipaddress
import struct
from typing import NamedTuple, Optional

from harness import reference, v1, v2
from place import BALANCER4, BALANCER6, CLIENTS4, CLIENTS6, OTHER4, STRANGER4, STRANGER6

SPORT = 56324


class Mode(NamedTuple):
    name: str
    start: str  # "control", or "truepeer"
    six: bool  # the daemon listens on [::], not on 0.0.0.0
    source: str  # where the connection comes from, or which HAProxy it goes through
    pieces: tuple = ()  # the header, in segments
    client: Optional[str] = None  # whom the daemon must name; None: source
    joined: bool = False  # the client's first words are in the header's last segment
    stranger: bool = False  # the header is data: what the daemon makes of it is its affair
    proxy: Optional[str] = None  # an HAProxy in between, which sends so
    silent: int = 0  # trusted connections that say nothing, meanwhile
    overtaken: bool = False  # another client comes and goes between the pieces
    reloaded: bool = False  # the daemon has executed itself anew, twice

    @property
    def id(self):
        return ("six-" if self.six else "four-") + self.name

    @property
    def expected(self):
        return self.client or self.source

    @property
    def port(self):
        return SPORT if self.pieces and self.client else None


def pseudo(client):
    """The IPv4 address that stands for an IPv6 client: FNV-1a, folded to 28 bits."""
    digest = 2166136261
    for byte in ipaddress.IPv6Address(client).packed:
        digest = (digest ^ byte) * 16777619 % 2**32
    digest = 0xF0000000 | (digest ^ digest >> 28) & 0x0FFFFFFF
    return str(ipaddress.IPv4Address(min(digest, 0xFFFFFFFE)))


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def with_tlvs(client):
    """ALPN, authority, NOOP, unique ID, an AWS VPC endpoint, and the checksum over it all."""
    tlvs = (tlv(1, b"h2") + tlv(2, b"server.test") + tlv(4, bytes(9)) + tlv(5, b"unique") +
            tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9") + tlv(3, bytes(4)))
    header = v2(client, SPORT, tlvs=tlvs)
    return header[:-4] + struct.pack("!I", reference.crc32c(header))


def local():
    return reference.SIG + b"\x20\x00\x00\x00"


def all_modes():
    clients = iter(range(11, 60))

    def four():
        return CLIENTS4.format(next(clients))

    def six():
        return CLIENTS6.format(next(clients))

    def version1(client):
        return v1(client, SPORT, BALANCER6 if ":" in client else BALANCER4)

    def version2(client):
        return v2(client, SPORT, BALANCER6 if ":" in client else BALANCER4)

    def halves(header, at):
        return header[:at], header[at:]

    def headed(name, on_six, make, client, source=None, **more):
        pieces = make(client)
        pieces = pieces if isinstance(pieces, tuple) else (pieces,)
        source = source or (BALANCER6 if on_six else BALANCER4)
        report = pseudo(client) if ":" in client and not on_six else client
        return Mode(name, "truepeer", on_six, source, pieces, report, **more)

    def proxied(name, on_six, client, option):
        report = pseudo(client) if ":" in client and not on_six else client
        return Mode(name, "truepeer", on_six, client, client=report, proxy=option)

    both = [
        Mode("control", "control", False, four()),
        Mode("control-six", "control", True, six()),
        Mode("control-four", "control", True, four()),
    ]
    on_four = [
        headed("v1", False, version1, four()),
        headed("v2", False, version2, four()),
        headed("v1-split", False, lambda c: halves(version1(c), 9), four()),
        headed("v2-split", False, lambda c: halves(version2(c), 20), four()),
        headed("v1-joined", False, version1, four(), joined=True),
        headed("v2-joined", False, version2, four(), joined=True),
        headed("tlvs", False, with_tlvs, four()),
        Mode("local", "truepeer", False, BALANCER4, (local(),)),
        Mode("unknown", "truepeer", False, OTHER4, (b"PROXY UNKNOWN\r\n",)),
        headed("v1-client6", False, version1, six()),
        headed("v2-client6", False, version2, six()),
        proxied("haproxy-v1", False, four(), "send-proxy"),
        proxied("haproxy-v2", False, four(), "send-proxy-v2"),
        proxied("haproxy-client6", False, six(), "send-proxy-v2"),
        Mode("stranger", "truepeer", False, STRANGER4),
        headed("stranger-head", False, version2, four(), source=STRANGER4, stranger=True),
        headed("silent", False, version2, four(), silent=5),
        headed("overtaken", False, lambda c: halves(version2(c), 20), four(), overtaken=True),
        headed("reloaded", False, version2, four(), reloaded=True),
    ]
    on_six = [
        headed("v1", True, version1, six()),
        headed("v2", True, version2, six()),
        headed("v1-client4", True, version1, four()),
        headed("v2-client4", True, version2, four()),
        headed("v2-from4", True, version2, six(), source=BALANCER4),
        headed("v2-both4", True, version2, four(), source=BALANCER4),
        Mode("local", "truepeer", True, BALANCER6, (local(),)),
        proxied("haproxy-v1", True, six(), "send-proxy"),
        proxied("haproxy-client4", True, four(), "send-proxy-v2"),
        Mode("stranger", "truepeer", True, STRANGER6),
    ]
    return both + on_four + on_six


MODES = all_modes()
