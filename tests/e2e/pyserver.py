# SPDX-License-Identifier: MIT
"""Unmodified Python servers that say what the test server says: pyserver.py KIND [FOLDER]."""

import asyncio
import ctypes
import errno
import http.server
import os
import socket
import socketserver
import struct
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


class Ask(socketserver.BaseRequestHandler):
    """Says what truepeer_get knows."""

    def handle(self):
        answer = info(self.request.fileno(), ctypes.sizeof(Info))
        self.request.sendall(f"{answer}\n".encode())


class Info(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("kind", ctypes.c_int), ("client", ctypes.c_uint64 * 16),
                ("sender", ctypes.c_uint64 * 16), ("destination", ctypes.c_uint64 * 16), ("later", ctypes.c_char * 64)]


def plain(address):
    family, port = struct.unpack("=H", address[:2])[0], struct.unpack("!H", address[2:4])[0]
    if family == socket.AF_UNSPEC:
        return None
    six = family == socket.AF_INET6
    return socket.inet_ntop(family, address[8:24] if six else address[4:8]), port


def info(fd, size):
    get = getattr(ctypes.CDLL(None, use_errno=True), "truepeer_get", None)
    if not get:
        return "not there"
    asked = Info(size=size, later=b"untouched")
    if get(fd, ctypes.byref(asked)):
        return errno.errorcode[ctypes.get_errno()]
    raw = bytes(asked)
    addresses = (plain(raw[getattr(Info, name).offset:]) for name in ("client", "sender", "destination"))
    return {"size": asked.size, "kind": asked.kind, "later": asked.later.decode(),
            **dict(zip(("client", "sender", "destination"), addresses))}


def serve_dropped(folder):
    """Four processes in a chroot, nobody's, wait for clients: what many daemons do."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print("listening", listener.getsockname()[1], flush=True)
    for _ in range(3):
        if not os.fork():
            break
    os.chroot(folder)
    os.chdir("/")
    os.setgid(65534)
    os.setuid(65534)
    while True:
        connection, accepted = listener.accept()
        with connection:
            connection.sendall(report(accepted, connection))
            while data := connection.recv(65536):
                connection.sendall(data)


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
    elif kind == "ask":
        serve(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Ask))
    elif kind == "dropped":
        serve_dropped(sys.argv[2])
    else:
        servers = {"threading": socketserver.ThreadingTCPServer, "forking": socketserver.ForkingTCPServer}
        serve(servers[kind](("127.0.0.1", 0), Echo))
