# SPDX-License-Identifier: MIT
"""Dropbear: select on a listener for each family, then a process for each client."""

PACKAGES = ["dropbear-bin"]
PORT = 22
SEEN = r"Child connection from ADDRESS:PORT"
SIX = "only"


def start(place):
    place.run("dropbearkey", "-t", "ed25519", "-f", "/tmp/key")
    return ["dropbear", "-F", "-E", "-r", "/tmp/key", "-p", "[::]:22" if place.six else "0.0.0.0:22"]


def session(talk):
    talk.until(r"SSH-2.0-.*\r\n")
