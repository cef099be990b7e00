# SPDX-License-Identifier: MIT
"""Squid: accept in a loop on a non-blocking listener in epoll.  With -N: without it a parent starts the
process that serves in secure execution, see ld.so(8), where LD_PRELOAD does not reach it.  It aborts
when it is told of an IPv4 client at an IPv6 address of its own (Ip::Address::getInAddr)."""

PACKAGES = ["squid"]
PORT = 3128
SEEN = r"client=ADDRESS port=PORT;"
LOG = "/var/log/squid/access.log"
CLIENT_FIRST = True


def start(place):
    if not place.plain:
        place.variables["TRUEPEER_SOCKNAME"] = "header"
    place.run("chown", "proxy:proxy", "/var/log/squid")
    return ["squid", "-N", "-f", place.write("/etc/squid/test.conf", f"""\
http_port {"[::]" if place.six else "0.0.0.0"}:3128
logformat test client=%>a port=%>p;
access_log stdio:{LOG} test
buffered_logs off
cache deny all
http_access allow all
pid_filename none
shutdown_lifetime 0
""")]


def session(talk):
    talk.say("GET http://127.0.0.1:1/ HTTP/1.0\r\n\r\n")
    talk.until(r"HTTP/1\.. 50")
    talk.rest()
