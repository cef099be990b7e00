# SPDX-License-Identifier: MIT
"""socat: select with a blocking listener; the program that it starts gets the client in SOCAT_PEERADDR.
It reads on until the client ends: where socat cannot get rid of what a client says, that session fails,
and socat (1.7.4) takes its status for one of the next sessions', which then ends without a word."""

PACKAGES = ["socat"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"


def start(place):
    program = place.write("/tmp/service", """\
#!/bin/sh
echo "client=$SOCAT_PEERADDR port=$SOCAT_PEERPORT"
cat >/dev/null
""", 0o755)
    listen = "TCP6-LISTEN:7000,ipv6only=0" if place.six else "TCP4-LISTEN:7000"
    return ["socat", f"{listen},fork,reuseaddr", f"EXEC:{program}"]


def session(talk):
    talk.until(r"client=.*\n")
