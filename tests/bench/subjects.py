# SPDX-License-Identifier: MIT
"""The servers whose connections are measured, and the ways that each client comes to them."""

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

import daemons
import harness
from conftest import programs
from crowd import family
from harness import environment, eventually, find, free_port, listens, v1, v2
from rounds import Unfit
from turns import own_turn

CLIENT, BALANCER = "127.1.2.3", "127.0.0.9"  # as the headers say, as HAProxy comes
PROBE = "127.0.0.7"  # who connects to find out whom the server sees
HEADERS = {"none": b"", "v1": v1(CLIENT, 10000, "127.0.0.1", 25), "v2": v2(CLIENT, 10000, "127.0.0.1", 25)}


class Subject(NamedTuple):
    start: object  # as in daemons.py
    window: int  # connections at a time, fewer than its backlog holds; 0: one, whose header is late
    request: str  # what each client says
    reply: str  # what it must be told; {} is the client's address
    goal: float  # of the rate without the library
    swallows: bool = False  # a header is payload like any other to it
    native: bool = False  # it can read the header itself


def loop(mode):
    def start(place):
        server = place.run([place.server_path, mode], place.environment()).listening()
        return daemons.Target(server.port, server.pid, daemons.by_words, b"?")
    return start


SUBJECTS = {
    "accept-loop": Subject(loop("accept"), 64, "x", "", 0.95, swallows=True),
    "epoll-loop": Subject(loop("epoll"), 64, "x", "", 0.95, swallows=True),
    "nginx": Subject(daemons.nginx(""), 64, "GET / HTTP/1.0\r\n\r\n", "{} ", 0.98, native=True),
    "redis": Subject(daemons.redis, 64, "QUIT\r\n", "+OK", 0.98),
    "vsftpd": Subject(daemons.vsftpd, 16, "QUIT\r\n", "\n221 ", 0.98),
    "postfix": Subject(daemons.postfix, 16, "QUIT\r\n", "\n221 ", 0.98, native=True),
    "dovecot": Subject(daemons.dovecot(0), 16, "a LOGOUT\r\n", "a OK", 0.98, native=True),
    "late-header": Subject(loop("accept"), 0, "x", "", 0, swallows=True),
}


class Way(NamedTuple):
    name: str
    server: str  # plain, again (another plain one), native, bare, truepeer or libproxyproto
    header: str  # what the client sends
    base: str = ""  # the way that it is compared with
    front: str = ""  # haproxy, or go-mmproxy
    seen: str = CLIENT  # whom the server is to see

    @property
    def rival(self):
        return self.server == "libproxyproto" or self.front == "go-mmproxy"


def ways(subject):
    plain = "no header"
    found = [Way(plain, "plain", "none", seen=PROBE), Way("the same again", "again", "none", plain, seen=PROBE)]
    if subject.swallows:
        found += [Way(f"{v} as payload", "plain", v, plain, seen=PROBE) for v in ("v1", "v2")]
    if subject.native:
        found += [Way(f"native {v}", "native", v, plain) for v in ("v1", "v2")]
    for v in "v1", "v2":
        found.append(Way(f"truepeer {v}", "truepeer", v, f"{v} as payload" if subject.swallows else plain))
    base = "v2 as payload" if subject.swallows else plain
    found.append(Way("three bare calls v2", "bare", "v2", base, seen=PROBE))
    if os.environ.get("LIBPROXYPROTO"):
        found.append(Way("libproxyproto v2", "libproxyproto", "v2", base))
    if not subject.window:
        return found
    if os.environ.get("GO_MMPROXY"):
        found.append(Way("go-mmproxy v2", "plain", "v2", base, "go-mmproxy"))
    return found + [Way("HAProxy", "plain", "none", plain, "haproxy", seen=BALANCER),
                    Way("HAProxy, truepeer", "truepeer", "none", "HAProxy", "haproxy", seen=PROBE)]


class WithOther(daemons.Place):
    """Another library of this kind, in place of ours."""

    other = None

    def environment(self):
        return {**environment(plain=True), "LD_PRELOAD": str(self.other), "LIBPROXYPROTO_MUST_USE_PROTOCOL_HEADER": "1"}


class Instances:
    """A subject's servers, each started when a way first needs it, and what stands in front of them."""

    def __init__(self, subject, own, folder, **variables):
        self.subject, self.own, self.folder, self.variables = subject, own, folder, variables
        self.stack, self.targets, self.fronts = contextlib.ExitStack(), {}, {}
        self.others = {"bare": own.bare, "libproxyproto": Path(os.environ.get("LIBPROXYPROTO", "")).resolve()}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stack.close()

    def run(self, name):
        """A folder, and what starts programs in it."""
        folder = self.folder / name
        folder.mkdir()
        return folder, self.stack.enter_context(programs(folder))

    def target(self, server):
        if server not in self.targets:
            folder, run = self.run(server)
            kind = WithOther if server in self.others else daemons.Place
            place = kind(run, folder, self.own.loop, server != "truepeer", self.variables, server == "native")
            place.other = self.others.get(server)
            self.targets[server] = self.subject.start(place)
        return self.targets[server]

    def haproxy(self, port, send):
        folder, run = self.run(f"haproxy {port}")
        front = free_port()
        config = folder / "haproxy.cfg"
        config.write_text(f"""\
global
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
listen front
    bind 127.0.0.1:{front}
    server server 127.0.0.1:{port} source {BALANCER} {send}
""")
        run([find("haproxy", "haproxy"), "-q", "-db", "-f", config], environment(plain=True))
        return front

    def go_mmproxy(self, port, _):
        """Needs the routes of its own manual."""
        folder, run = self.run("go-mmproxy")
        front = free_port()
        for words in "rule add from 127.0.0.1/8 iif lo table 123", "route replace local 0.0.0.0/0 dev lo table 123":
            os.system(f"ip {words}")  # there already, from an earlier start
        program = Path(os.environ["GO_MMPROXY"]).resolve()
        run([program, "-l", f"127.0.0.1:{front}", "-4", f"127.0.0.1:{port}"], environment(plain=True))
        return front

    def port(self, way):
        """Where its clients connect to."""
        target = self.target(way.server)
        if not way.front:
            return target.port
        key = way.front, way.server
        if key not in self.fronts:
            send = "send-proxy-v2" if way.server == "truepeer" else ""
            start = self.haproxy if way.front == "haproxy" else self.go_mmproxy
            self.fronts[key] = start(target.port, send)
            eventually(lambda: listens(self.fronts[key]), f"{way.front} listens")
        return self.fronts[key]

    def verify_libraries(self, way):
        """That they are where they should be, and only there."""
        loaded = {name for pid in family(self.target(way.server).pid) for name in preloaded(pid)}
        libraries = {"truepeer": harness.LIBRARY, **self.others}
        if loaded != {Path(path).name for server, path in libraries.items() if server == way.server}:
            raise Unfit(f"{way.name}: the server has loaded {', '.join(loaded) or 'no library'}")

    def verify(self, way):
        """The libraries, and whom the server sees."""
        self.verify_libraries(way)
        said = ask(self.target(way.server), self.port(way), HEADERS[way.header], way.seen)
        if way.seen not in said:
            raise Unfit(f"{way.name}: the server does not see {way.seen}, but says {said!r}")


def preloaded(pid):
    """The libraries of this kind in a process."""
    with contextlib.suppress(OSError):
        return set(re.findall(r"/((?:libtruepeer|libproxyproto|bare)[^/]*\.so)$", Path(f"/proc/{pid}/maps").read_text(), re.M))
    return set()


def ask(target, port, header, wanted):
    """What the server says about one client; if it writes that into its log, it gets some time to."""
    before = len(target.log.read_text()) if target.log and target.log.exists() else 0
    reply = b""
    with own_turn():
        client = harness.connect(port, source=PROBE)
        client.sendall(header + target.request)
    with client:
        while not re.search(target.until, reply, re.S) and (more := client.recv(65536)):
            reply += more
    if not target.log:
        return reply.decode()
    with contextlib.suppress(AssertionError):
        eventually(lambda: wanted in target.log.read_text()[before:], "the server logs its client", 3)
    return target.log.read_text()[before:]
