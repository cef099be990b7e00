# SPDX-License-Identifier: MIT
"""Unbound: libevent, threads; DNS over TCP."""

PACKAGES = ["unbound"]
PORT = 53
SEEN = r"info: ADDRESS server\.test\. A IN"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    return ["unbound", "-d", "-d", "-c", place.write("/etc/unbound/test.conf", f"""\
server:
    interface: {place.listen}
    interface-automatic: no
    access-control: 0.0.0.0/0 allow
    access-control: ::/0 allow
    log-queries: yes
    use-syslog: no
    logfile: ""
    chroot: ""
    username: ""
    pidfile: ""
    do-daemonize: no
    tcp-idle-timeout: 10000
    local-data: "server.test. A 10.0.0.21"
""")]


def session(talk):
    query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\6server\4test\0\0\1\0\1"
    talk.say(len(query).to_bytes(2, "big") + query)
    talk.until(rb"\x12\x34")
