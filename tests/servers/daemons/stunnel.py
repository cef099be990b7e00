# SPDX-License-Identifier: MIT
"""stunnel: poll, a thread for each client."""

PACKAGES = ["stunnel4"]
PORT = 7000
CLIENT_FIRST = True
SIX = "only"
SEEN = r"Service \[test\] accepted connection from (?:::ffff:)?ADDRESS:PORT"


def start(place):
    place.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server.test", "-days", "2",
              "-keyout", "/tmp/key.pem", "-out", "/tmp/cert.pem")
    listen = ":::7000" if place.six else "0.0.0.0:7000"
    return ["stunnel4", place.write("/etc/stunnel/test.conf", f"""\
foreground = yes
debug = info
setuid = nobody
setgid = nogroup
[test]
accept = {listen}
connect = 127.0.0.1:1
cert = /tmp/cert.pem
key = /tmp/key.pem
""")]


def session(talk):
    talk.say("not TLS\r\n")
