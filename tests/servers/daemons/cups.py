# SPDX-License-Identifier: MIT
"""CUPS: one process in epoll."""

PACKAGES = ["cups-daemon"]
PORT = 631
SEEN = r"Accepted from (?:\[v1\.)?ADDRESS:PORT "
CLIENT_FIRST = True
SIX = "only"


def start(place):
    place.write("/etc/cups/cups-files.conf", "ErrorLog stderr\nAccessLog stderr\nPageLog stderr\n")
    return ["cupsd", "-f", "-c", place.write("/etc/cups/test.conf", f"""\
LogLevel debug
Listen {"[::]" if place.six else "0.0.0.0"}:631
HostNameLookups Off
ServerAlias *
Browsing No
<Location />
  Allow all
</Location>
""")]


def session(talk):
    talk.say("GET /none HTTP/1.0\r\n\r\n")
    talk.until(r"HTTP/1\.. ")
    talk.rest()
