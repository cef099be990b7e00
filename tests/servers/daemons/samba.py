# SPDX-License-Identifier: MIT
"""Samba's smbd: epoll, then a process for each client."""

PACKAGES = ["samba"]
PORT = 445
SEEN = r"Allowed connection from \S+ \(ADDRESS\)"
READY = "waiting for connections"
CLIENT_FIRST = True
SIX = "only"

# an SMB2 header, and the request for dialect 2.002
NEGOTIATE = b"\xfeSMB\x40\0" + bytes(58) + b"\x24\0\1\0\1\0\0\0" + bytes(28) + b"\x02\x02"


def start(place):
    return ["smbd", "-F", "--debug-stdout", "-d", "3", "-s", place.write("/etc/samba/test.conf", f"""\
[global]
interfaces = {"fd00::21" if place.six else "10.0.0.21"}/8
bind interfaces only = yes
smb ports = 445
disable spoolss = yes
load printers = no
server min protocol = SMB2
""")]


def session(talk):
    talk.say(len(NEGOTIATE).to_bytes(4, "big") + NEGOTIATE)
    talk.until(rb"\xfeSMB")
