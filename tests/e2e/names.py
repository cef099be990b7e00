# SPDX-License-Identifier: MIT
"""A server that tells each client, in three lines, what accept, getpeername and getsockname say.

names.py listen FD: connections of an inherited listener, one after the other
names.py spawn FD COMMAND...: the same, each as standard input of a command that is told TRUEPEER_INHERITED=0
names.py serve FD...: one that was accepted by somebody else, under these descriptors; of each also what
    can be read from it and whether something can be written, then the number that the next file gets
"""

import contextlib
import os
import socket
import subprocess
import sys


def words(call):
    try:
        name = call()
        return f"inet{'6' if ':' in name[0] else ''} {name[0]} {name[1]}" if isinstance(name, tuple) else repr(name)
    except OSError as error:
        return error.strerror


def names(connection):
    return f"peer={words(connection.getpeername)}\nsocket={words(connection.getsockname)}\n"


def listen(listener):
    print("listening", 0 if listener.family == socket.AF_UNIX else listener.getsockname()[1], flush=True)
    while True:
        connection, name = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            connection.sendall(f"accept={words(lambda: name)}\n{names(connection)}".encode())
            while data := connection.recv(65536):
                connection.sendall(data)


def spawn(listener, command):
    print("listening", listener.getsockname()[1], flush=True)
    while True:
        with listener.accept()[0] as connection:
            subprocess.run(command, env={**os.environ, "TRUEPEER_INHERITED": "0"}, stdin=connection)


def tries(connection):
    """What is left of a connection; SIGPIPE is ignored in Python."""
    return f"reads={words(lambda: connection.recv(10))}\nwrites={words(lambda: str(connection.send(b'hello')))}\n"


def serve(connections):
    for connection in connections:
        print(names(connection) + tries(connection), end="")
    print(f"next={os.open('/dev/null', os.O_RDONLY)}\nasked={'TRUEPEER_INHERITED' in os.environ}", flush=True)


if sys.argv[1] == "listen":
    listen(socket.socket(fileno=int(sys.argv[2])))
elif sys.argv[1] == "spawn":
    spawn(socket.socket(fileno=int(sys.argv[2])), sys.argv[3:])
else:
    sys.stdout = os.fdopen(os.dup(int(os.environ["OUTPUT"])), "w")
    serve([socket.socket(fileno=int(fd)) for fd in sys.argv[2:]])
