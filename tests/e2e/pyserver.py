# SPDX-License-Identifier: MIT
"""Unmodified Python servers that say what the test server says: pyserver.py KIND."""

import asyncio
import http.server
import socketserver
import sys


def name(address):
    return "{} {} {}".format("inet6" if ":" in address[0] else "inet", *address[:2])


def report(accepted, connection):
    return f"accept={name(accepted)} peer={name(connection.getpeername())}\n".encode()


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(report(self.client_address, self.request))
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(report(self.client_address, self.connection))

    def log_message(self, *args):
        pass


def serve(server):
    print("listening", server.server_address[1], flush=True)
    server.serve_forever()


async def serve_asyncio():
    async def echo(reader, writer):
        writer.write(report(writer.get_extra_info("peername"), writer.get_extra_info("socket")))
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=512)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    kind = sys.argv[1]
    socketserver.TCPServer.request_queue_size = 512
    if kind == "asyncio":
        asyncio.run(serve_asyncio())
    elif kind == "http":
        serve(http.server.HTTPServer(("127.0.0.1", 0), Page))
    else:
        servers = {"threading": socketserver.ThreadingTCPServer, "forking": socketserver.ForkingTCPServer}
        serve(servers[kind](("127.0.0.1", 0), Echo))
