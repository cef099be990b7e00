# SPDX-License-Identifier: MIT
"""Socket activation: the listener is inherited (Accept=no), or the connection is (Accept=yes), by an
activator that has the library itself (accept) or not (inherited).  It hands on what -E names alone."""

PACKAGES = ["systemd", "python3"]
VARIANTS = ["listen", "accept", "inherited"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
CORE = True

SERVICE = """\
import socket, sys
def serve(client):
    client.recv(4096)
    peer = client.getpeername()
    client.sendall(f"client={peer[0]} port={peer[1]}\\n".encode())
    client.close()
inherited = socket.socket(fileno=3)
if sys.argv[1] != "listen":
    serve(inherited)
else:
    while True:
        serve(inherited.accept()[0])
"""


def start(place):
    if place.variant == "inherited" and not place.plain:
        place.variables["TRUEPEER_INHERITED"] = "listen-fds"
    words = [word for name, value in place.variables.items() for word in ("-E", f"{name}={value}")]
    how = [] if place.variant == "listen" else ["--accept"]
    if place.variant != "accept":
        place.variables = {}
    listen = "[::]:7000" if place.six else "0.0.0.0:7000"
    return ["systemd-socket-activate", *how, "-l", listen, *words, "python3", "-B",
            place.write("/tmp/service.py", SERVICE), place.variant]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
