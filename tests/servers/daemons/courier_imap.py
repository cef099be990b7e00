# SPDX-License-Identifier: MIT
"""Courier IMAP: couriertcpd accepts and executes the login program, which gets TCPREMOTEIP."""

PACKAGES = ["courier-imap"]
PORT = 143
SEEN = r"(?:Connection|LOGOUT|Disconnected), ip=\[ADDRESS\]"


def start(place):
    return ["/usr/sbin/couriertcpd", "-address=" + place.listen, "-maxprocs=40", "-maxperip=40", "-nodnslookup",
            "-noidentlookup", "143", "/usr/lib/courier/courier/imaplogin", "/usr/bin/imapd", "Maildir"]


def session(talk):
    talk.until(r"\* OK .*\r\n")
    talk.say("a LOGOUT\r\n")
    talk.until(r"a OK .*\r\n")
