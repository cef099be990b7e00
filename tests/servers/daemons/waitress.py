# SPDX-License-Identifier: MIT
"""Waitress: asyncore's select or poll in one thread, which hands requests to others."""

PACKAGES = ["python3-waitress"]
PORT = 8000
VARIANTS = ["select", "poll"]
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    program = place.write("/tmp/server.py", """\
import sys, waitress

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"client={environ['REMOTE_ADDR']} port={environ['REMOTE_PORT']}\\n".encode()]

waitress.serve(app, host=sys.argv[2], port=8000, asyncore_use_poll=sys.argv[1] == "poll")
""")
    return ["python3", "-B", program, place.variant, place.listen]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
