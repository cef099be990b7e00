# SPDX-License-Identifier: MIT
"""TigerVNC's X server: poll or epoll in the X server's loop."""

PACKAGES = ["tigervnc-standalone-server"]
PORT = 5900
SEEN = r"accepted: (?:\[?ADDRESS\]?)::PORT"
SIX = "only"


def start(place):
    family = ["-UseIPv4=0"] if place.six else ["-UseIPv6=0"]
    return ["Xtigervnc", ":1", "-rfbport", PORT, "-SecurityTypes=None", "-nolisten", "tcp", "-BlacklistThreshold=1000",
            *family]


def session(talk):
    talk.until(r"RFB 003\.\d+\n")
