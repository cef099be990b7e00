# SPDX-License-Identifier: MIT
"""The client's side of a conversation with a daemon, and whom the daemon names in it."""

import contextlib
import ipaddress
import re
import select
import socket

from harness import delivered, eventually

WAIT = 5  # seconds for a reply
ADDRESS = r"\[?(?:IPv6:)?(?P<ip>[0-9A-Fa-f:.]*[0-9A-Fa-f])\]?"
PORT = r"(?P<port>\d+)"


class Talk:
    """The client's side of one conversation, and all that the daemon said in it."""

    def __init__(self, address, source, pieces=(), joined=False):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self.client = socket.socket(family, socket.SOCK_STREAM)
        self.client.settimeout(WAIT)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.bind((source, 0))
        self.client.connect(address)
        self.source = self.client.getsockname()
        self.heard, self.at = b"", 0
        self.held = b""
        *first, last = pieces or (b"",)
        for piece in first:
            self.client.sendall(piece)
            eventually(lambda: delivered(self.client), "the first part is delivered")
            select.select([], [], [], 0.05)
        if joined:
            self.held = last
        else:
            self.client.sendall(last)

    def say(self, words):
        words = words.encode() if isinstance(words, str) else words
        self.client.sendall(self.held + words)
        self.held = b""

    def until(self, pattern):
        """Reads on until the pattern is there, behind what was matched last; returns the match."""
        pattern = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.S)
        while not (match := pattern.search(self.heard, self.at)):
            data = self.client.recv(65536)
            assert data, f"the daemon hung up before {pattern.pattern!r}: {self.heard!r}"
            self.heard += data
        self.at = match.end()
        return match

    def rest(self):
        while data := self.client.recv(65536):
            self.heard += data

    def text(self):
        return self.heard.decode(errors="replace") + "\n"

    def close(self):
        self.client.close()


class Name:
    """A client as a daemon names it: ip, the port if it says, and whether IPv4 is ::ffff:a.b.c.d."""

    def __init__(self, match):
        ip = ipaddress.ip_address(match["ip"])
        self.mapped = getattr(ip, "ipv4_mapped", None) is not None
        self.ip = str(ip.ipv4_mapped if self.mapped else ip)
        self.port = int(match["port"]) if "port" in match.groupdict() else None

    def __repr__(self):
        return f"{'::ffff:' * self.mapped}{self.ip} {self.port or ''}"


def names(pattern, text):
    return [Name(match) for match in re.finditer(pattern.replace("ADDRESS", ADDRESS).replace("PORT", PORT), text)]


def named_within(pattern, ip, text):
    """Waits, for a while, until text() names that client, and returns it so; None if it does not.
    Others may be named too: a log still gets lines about earlier clients."""
    def found():
        return [name for name in names(pattern, text()) if name.ip == ip]
    with contextlib.suppress(AssertionError):
        return eventually(found, "the client is named", WAIT)[0]
    return None
