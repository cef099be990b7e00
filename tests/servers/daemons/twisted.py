# SPDX-License-Identifier: MIT
"""Twisted: reactors with epoll, poll and select."""

PACKAGES = ["python3-twisted"]
PORT = 7000
VARIANTS = ["epoll", "poll", "select"]
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    program = place.write("/tmp/server.py", """\
import sys
from twisted.internet import {reactor}reactor
{reactor}reactor.install()
from twisted.internet import protocol, reactor

class Answer(protocol.Protocol):
    def dataReceived(self, data):
        peer = self.transport.getPeer()
        self.transport.write(f"client={{peer.host}} port={{peer.port}}\\n".encode())
        self.transport.loseConnection()

factory = protocol.Factory()
factory.protocol = Answer
reactor.listenTCP(7000, factory, interface=sys.argv[1])
reactor.run()
""".format(reactor=place.variant))
    return ["python3", "-B", program, place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
