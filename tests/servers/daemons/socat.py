# SPDX-License-Identifier: MIT
"""socat: select with a blocking listener; the program that it starts gets the client in SOCAT_PEERADDR."""

PACKAGES = ["socat"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"


def start(place):
    program = place.write("/tmp/service", '#!/bin/sh\necho "client=$SOCAT_PEERADDR port=$SOCAT_PEERPORT"\n', 0o755)
    listen = "TCP6-LISTEN:7000,ipv6only=0" if place.six else "TCP4-LISTEN:7000"
    return ["socat", f"{listen},fork,reuseaddr", f"EXEC:{program}"]


def session(talk):
    talk.until(r"client=.*\n")
