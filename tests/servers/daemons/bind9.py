# SPDX-License-Identifier: MIT
"""BIND's named: libuv, threads with a listener each (SO_REUSEPORT); DNS over TCP."""

PACKAGES = ["bind9"]
PORT = 53
READY = r"running\n"
SEEN = r"client @\S+ ADDRESS#PORT \(server\.test\)"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    on, off = ("listen-on-v6", "listen-on") if place.six else ("listen-on", "listen-on-v6")
    place.write("/etc/bind/test.conf", f"""\
options {{
    directory "/tmp";
    {on} {{ any; }};
    {off} {{ none; }};
    recursion no;
    querylog yes;
    dnssec-validation no;
    pid-file none;
    session-keyfile none;
}};
controls {{ }};
""")
    return ["named", "-g", "-n", "2", "-c", "/etc/bind/test.conf"]


def session(talk):
    query = b"\x12\x34\0\0\0\1\0\0\0\0\0\0\6server\4test\0\0\1\0\1"
    talk.say(len(query).to_bytes(2, "big") + query)
    talk.until(rb"\x12\x34")
