# SPDX-License-Identifier: MIT
"""Dante (SOCKS): mothers wait in select and pass the connections on to processes of other trades."""

PACKAGES = ["dante-server"]
PORT = 1080
SEEN = r"(?:tcp/accept \[: |pass\(\d+\): tcp/accept \[: )ADDRESS\.PORT"
CLIENT_FIRST = True
SIX = None


def start(place):
    return ["danted", "-f", place.write("/etc/danted.test", """\
logoutput: stderr
internal: 0.0.0.0 port = 1080
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0/0 to: 0/0 log: connect disconnect error }
socks pass { from: 0/0 to: 0/0 }
""")]


def session(talk):
    talk.say(b"\5\1\0")
    talk.until(rb"\x05\x00")
