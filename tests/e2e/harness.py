# SPDX-License-Identifier: MIT
"""What the end-to-end tests share: programs, their clients, and PROXY headers."""

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import random
import re
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
LIBRARY = os.environ.get("LIBTRUEPEER") or str(HERE.parents[1] / "src/.libs/libtruepeer.so")
RUNTIME = os.environ.get("SANITIZER_RUNTIME", "").split()  # of a sanitized library: behind it, it sees all its calls
REPORTS = os.environ.get("SANITIZER_REPORTS")  # the file where a sanitized library keeps what it reports
COMMAND = os.environ.get("TRUEPEER") or str(HERE.parents[1] / "src/truepeer")
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
SANITIZER = os.environ.get("SANITIZER_FLAGS", "")  # -fsanitize=address and the like; see scripts/sanitize
SLOWNESS = int(os.environ.get("SLOWNESS", 1))  # how many times longer all takes, under such tools
COMPILED = set()  # programs made here
PATIENCE = 20 * SLOWNESS  # seconds: no wait in these tests is longer, and none normally comes near

_spec = importlib.util.spec_from_file_location("check", HERE.parent / "vectors/check.py")
reference = importlib.util.module_from_spec(_spec)  # an independent parser
_spec.loader.exec_module(reference)


# ---- headers ----

def v1(source="203.0.113.7", sport=56324, destination="198.51.100.1", dport=443):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {sport} {dport}\r\n".encode()


def v1_six(source="2001:db8::7", sport=56324):
    return v1(source, sport, "2001:db8::1")


def v2(source="203.0.113.7", sport=56324, destination="198.51.100.1", dport=443, command=1, tlvs=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    body = addresses + struct.pack("!HH", sport, dport) + tlvs
    kind = 0x21 if family == socket.AF_INET6 else 0x11
    return reference.SIG + struct.pack("!BBH", 0x20 | command, kind, len(body)) + body


def name(address, port=None):
    """A socket's name as the test server prints it."""
    host, port = address[:2] if port is None else (address, port)
    return f"{'inet6' if ':' in host else 'inet'} {host} {port}"


# ---- environments and programs ----

def find(program, package):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")
    return path or pytest.skip(f"{program} is not here (Debian package {package})")


def private_mounts():
    """The words before a command that may mount what only it sees."""
    words = [find("unshare", "util-linux"), "--mount"]
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace here")
    return words


def enter_network(commands):
    """Gives this process mounts and a network of its own, with what these commands of ip(8) add."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["ip", "-batch", "-"], input="\n".join(["link set lo up", *commands]), text=True, check=True)


def unsanitized(reason, *kinds):
    """Marks tests that cannot be under these sanitizers (address, thread, memory, undefined), or under any."""
    return pytest.mark.skipif(any(f"={kind}" in SANITIZER for kind in kinds or [""]),
                              reason=f"not under {SANITIZER.strip()}: {reason}")


FOREIGN = "MemorySanitizer's runtime, which the library wants, is in our own programs only"
foreign = unsanitized(FOREIGN, "memory")  # marks tests that start other programs, not by Program


def rules_in(folder):
    """rules(text): the path of a rules file in the folder."""
    def write(text):
        path = folder / "truepeer.rules"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path
    return write


def environment(plain=False, preload=(), **variables):
    """The environment of a server: with the library unless plain, and TRUEPEER_* as given."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TRUEPEER_", "LD_PRELOAD"))}
    if plain:
        return env
    assert os.access(LIBRARY, os.R_OK), f"{LIBRARY} is not built"
    variables = {"TRUST": "loopback", **variables}
    env.update((f"TRUEPEER_{k}", v) for k, v in variables.items() if v is not None)
    env["LD_PRELOAD"] = " ".join([LIBRARY, *RUNTIME, *map(str, preload)])
    return env


def compiled(variable, source, folder, *flags):
    """The program make has built, or one made here."""
    if os.environ.get(variable):
        return Path(os.environ[variable])
    target = folder / Path(source).stem
    cc = shlex.split(os.environ.get("CC", "cc") + " " + SANITIZER)
    COMPILED.add(target)
    subprocess.run([*cc, "-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-pthread",
                    *flags, "-o", target, HERE / source, "-ldl"], check=True)
    return target


class Program:
    """A running process (with its children), its output and its log."""

    def __init__(self, argv, env, folder, fds=()):
        if "=memory" in SANITIZER and "LD_PRELOAD" in env and argv[0] not in COMPILED:
            pytest.skip(FOREIGN)
        self.log = folder / f"stderr.{time.monotonic_ns()}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(list(map(str, argv)), env=env, cwd=folder, pass_fds=fds,
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0,
                                            stderr=log, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    @property
    def stderr(self):
        return self.log.read_text()

    def line(self):
        """The next line of output, or None at its end."""
        out = self.process.stdout
        ready, _, _ = select.select([out], [], [], PATIENCE)
        assert ready, f"no output\n{self.stderr}"
        return out.readline().decode().strip() or None

    def listening(self):
        line = self.line()
        match = re.fullmatch(r"listening (\d+)", line or "")
        assert match, f"the server says {line!r}\n{self.stderr}"
        self.port = int(match[1])
        return self

    def stop(self):
        """Ends the process and the children in its session, and nobody else."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process.stdout.close()


def eventually(condition, what, patience=PATIENCE):
    """Waits, for a bounded time, until condition() is true, and returns what it gave."""
    deadline = time.monotonic() + patience
    while not (result := condition()):
        assert time.monotonic() < deadline, f"still not: {what}"
        select.select([], [], [], 0.005)
    return result


# ---- clients ----

class Answer(NamedTuple):
    accept: str
    peer: str
    flags: str
    payload: bytes


def parse(data):
    line, _, payload = data.partition(b"\n")
    match = re.fullmatch(r"accept=(.*) peer=(\S+(?: \S+ \d+)?)(?: (flags=.*))?", line.decode())
    assert match, f"not a report: {data[:200]!r}"
    return Answer(match[1], match[2], match[3] or "", payload)


def connect(port, host="127.0.0.1", source=None):
    client = socket.create_connection((host, port), PATIENCE, (source, 0) if source else None)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def delivered(client):
    """True when the other kernel has everything."""
    return not struct.unpack("i", fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4)))[0]


def read_all(client):
    return b"".join(iter(lambda: client.recv(65536), b""))


def exchange(client, *pieces, gap=0.001):
    """Sends the pieces as separate segments, ends, and returns all that comes back."""
    for i, piece in enumerate(pieces):
        if i:
            select.select([], [], [], gap)
        client.sendall(piece)
    with contextlib.suppress(OSError):  # already reset: read_all says so
        client.shutdown(socket.SHUT_WR)
    return read_all(client)


def ask(port, *pieces, host="127.0.0.1", source=None):
    """One whole conversation with the test server."""
    with connect(port, host, source) as client:
        return parse(exchange(client, *pieces))


def is_refused(port, *pieces, host="127.0.0.1"):
    """True when the connection is reset and nothing was said; False when it is served."""
    try:
        with connect(port, host) as client:
            assert exchange(client, *pieces) != b"", "closed, but not reset"
            return False
    except (ConnectionResetError, BrokenPipeError):
        return True


def listens(port):
    """Asks the kernel, without a connection that the server would log."""
    wanted = re.compile(rf":{port:04X} 0+:0000 0A")
    return any(wanted.search(Path(f"/proc/self/net/{table}").read_text()) for table in ("tcp", "tcp6"))


def bound(host, port):
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def listener(host="127.0.0.1"):
    """A listening socket for a program to inherit: its port cannot be lost to others."""
    try:
        made = bound(host, 0)
    except OSError as error:
        pytest.skip(f"no listener on {host}: {error}")
    made.set_inheritable(True)
    return made


def free_port(host="127.0.0.1"):
    """For programs that cannot inherit a listener: a port that was free a moment ago.

    Below those that the kernel itself gives out, so that nobody gets it in between.
    """
    listener(host).close()  # skips the test where there is no such address
    while True:
        port = random.randrange(10000, 30000)
        with contextlib.suppress(OSError), bound(host, port):
            return port
