# SPDX-License-Identifier: MIT
"""ngIRCd: epoll, non-blocking."""

PACKAGES = ["ngircd"]
PORT = 6667
SEEN = r'Accepted connection \d+ from "ADDRESS:PORT"'
SIX = "only"


def start(place):
    return ["ngircd", "-n", "-f", place.write("/etc/ngircd/test.conf", f"""\
[Global]
Name = irc.server.test
Info = test
Listen = {place.listen}
Ports = 6667
[Limits]
MaxConnectionsIP = 0
[Options]
DNS = no
Ident = no
PAM = no
""")]


def session(talk):
    talk.say(f"NICK n{talk.source[1]}\r\nUSER test 0 * :test\r\n")
    talk.until(r" 001 .*\r\n")
    talk.say("QUIT\r\n")
