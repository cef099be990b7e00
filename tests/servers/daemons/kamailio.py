# SPDX-License-Identifier: MIT
"""Kamailio (SIP): one process accepts, in epoll, and passes the connections on to others."""

PACKAGES = ["kamailio"]
PORT = 5060
SEEN = r"received=ADDRESS\b"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    listen = "[fd00::21]" if place.six else "10.0.0.21"
    flags = ["-DD", "-E", "-m", "32", "-M", "8", "-Y", "/tmp"]
    return ["kamailio", *flags, "-f", place.write("/etc/kamailio/test.cfg", f"""\
children=2
tcp_children=2
log_stderror=yes
listen=tcp:{listen}:5060
loadmodule "sl.so"
request_route {{
    force_rport();
    sl_send_reply("200", "OK");
}}
""")]


def session(talk):
    talk.say("OPTIONS sip:server.test SIP/2.0\r\nVia: SIP/2.0/TCP mx.test:5060;branch=z9hG4bK1\r\n"
             "From: <sip:a@mx.test>;tag=1\r\nTo: <sip:server.test>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n"
             "Max-Forwards: 9\r\nContent-Length: 0\r\n\r\n")
    talk.until(r"SIP/2\.0 200 .*\r\n\r\n")
