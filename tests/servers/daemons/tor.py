# SPDX-License-Identifier: MIT
"""Tor's SOCKS port: libevent."""

PACKAGES = ["tor"]
PORT = 9050
SEEN = r"New SOCKS connection opened from ADDRESS\."
CLIENT_FIRST = True
SIX = "only"


def start(place):
    listen = "[::]:9050" if place.six else "0.0.0.0:9050"
    return ["tor", "-f", place.write("/etc/tor/test", f"""\
SocksPort {listen}
SocksPolicy accept *
DataDirectory /tmp/tor
DisableNetwork 0
SafeLogging 0
Log info stderr
""")]


def session(talk):
    talk.say(b"\x05\x01\x00")
    talk.until(rb"\x05\x00")
