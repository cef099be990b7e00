# SPDX-License-Identifier: MIT
"""Python's servers: socketserver with threads and with processes, and asyncio (epoll, non-blocking)."""

PACKAGES = ["python3"]
PORT = 7000
VARIANTS = ["threading", "forking", "asyncio"]
SEEN = r"accept=ADDRESS PORT .*\n"
CLIENT_FIRST = True
CORE = ["threading", "asyncio"]

SERVER = """\
import asyncio, socket, socketserver, sys
kind, address = sys.argv[1], sys.argv[2]
six = ":" in address

def report(accepted, connection):
    peer = connection.getpeername()
    assert peer[:2] == accepted[:2], (peer, accepted)
    return f"accept={accepted[0]} {accepted[1]} peer={peer}\\n".encode()

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        self.wfile.write(report(self.client_address, self.request) + line)

async def echo(reader, writer):
    line = await reader.readline()
    writer.write(report(writer.get_extra_info("peername"), writer.get_extra_info("socket")) + line)
    await writer.drain()
    writer.close()

async def serve(listener):
    await (await asyncio.start_server(echo, sock=listener)).serve_forever()

def create():
    return socket.create_server((address, 7000), family=socket.AF_INET6 if six else socket.AF_INET,
                                dualstack_ipv6=six, backlog=128)

if kind == "asyncio":
    asyncio.run(serve(create()))
else:
    base = {"threading": socketserver.ThreadingTCPServer, "forking": socketserver.ForkingTCPServer}[kind]
    class Server(base):
        def __init__(self):
            super().__init__((address, 7000), Echo, bind_and_activate=False)
            self.socket = create()
    Server().serve_forever()
"""


def start(place):
    return ["python3", "-B", place.write("/tmp/server.py", SERVER), place.variant, place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"\nhello\n")
