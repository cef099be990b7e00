# SPDX-License-Identifier: MIT
"""HAProxy as the server, without its own support for the protocol: accept4 in epoll, threads."""

PACKAGES = ["haproxy"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT;"
CLIENT_FIRST = True


def start(place):
    listen = "[::]:7000 v4v6" if place.six else "0.0.0.0:7000"
    return ["haproxy", "-db", "-f", place.write("/etc/haproxy/test.cfg", f"""\
global
    nbthread 2
defaults
    mode http
    timeout client 10s
frontend test
    bind {listen}
    http-request return status 200 content-type text/plain lf-string "client=%[src] port=%[src_port];"
""")]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*;")
