# SPDX-License-Identifier: MIT
"""Tornado: processes that wait for one listener in epoll, each in a set of its own."""

PACKAGES = ["python3-tornado"]
PORT = 8000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    program = place.write("/tmp/server.py", """\
import asyncio, sys
import tornado.httpserver, tornado.netutil, tornado.process, tornado.web

class Answer(tornado.web.RequestHandler):
    def get(self):
        peer = self.request.connection.stream.socket.getpeername()
        self.write(f"client={peer[0]} port={peer[1]}\\n")

async def main(sockets):
    server = tornado.httpserver.HTTPServer(tornado.web.Application([("/", Answer)]))
    server.add_sockets(sockets)
    await asyncio.Event().wait()

sockets = tornado.netutil.bind_sockets(8000, sys.argv[1])
tornado.process.fork_processes(4)
asyncio.run(main(sockets))
""")
    return ["python3", "-B", program, place.listen]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
