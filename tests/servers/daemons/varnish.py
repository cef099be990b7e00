# SPDX-License-Identifier: MIT
"""Varnish: threads that block in accept, with a send timeout set on the listener."""

PACKAGES = ["varnish"]
PORT = 6081
SIX = "only"
SEEN = r"client=ADDRESS;"
CLIENT_FIRST = True
READY = "Child launched OK"


def start(place):
    program = place.write("/etc/varnish/test.vcl", """\
vcl 4.1;
backend default none;
sub vcl_recv { return (synth(200)); }
sub vcl_synth { synthetic("client=" + client.ip + ";"); return (deliver); }
""")
    listen = "[::]:6081" if place.six else "0.0.0.0:6081"
    return ["varnishd", "-F", "-a", listen, "-f", program, "-n", "/tmp/varnish", "-j", "none"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*;")
