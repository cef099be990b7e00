# SPDX-License-Identifier: MIT
"""Pure-FTPd: select on a listener for each family, then a process for each session."""

PACKAGES = ["pure-ftpd"]
PORT = 21
SEEN = r"\(\?@ADDRESS\) \[INFO\] New connection"
SIX = "only"


def start(place):
    return ["pure-ftpd", "-H", "-6" if place.six else "-4", "-S", f"{place.listen},21", "-d"]


def session(talk):
    talk.until(r"220 .*\r\n")
    talk.say("QUIT\r\n")
    talk.until(r"221.*\r\n")
