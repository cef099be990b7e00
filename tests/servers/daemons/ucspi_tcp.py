# SPDX-License-Identifier: MIT
"""tcpserver: a blocking accept; the program that it executes for each client gets TCPREMOTEIP."""

PACKAGES = ["ucspi-tcp"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"
SIX = None


def start(place):
    program = place.write("/tmp/service", '#!/bin/sh\necho "client=$TCPREMOTEIP port=$TCPREMOTEPORT"\n', 0o755)
    return ["tcpserver", "-H", "-R", "-l0", "-c100", place.listen, PORT, program]


def session(talk):
    talk.until(r"client=.*\n")
