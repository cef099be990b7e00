# SPDX-License-Identifier: MIT
"""Every daemon in every mode: it names the client that it should, and holds its conversation.

What it runs is in the environment: SERVERS, daemons' names or "core" (not set) or "all"; ROOTS, a folder
for Debian's packages (not set: those of this machine); ROOMS, TRUEPEER_MAX_PENDING."""

import contextlib
import ipaddress
import os
import re
import select
import shutil
import socket
import time

import pytest

from catalogue import DAEMONS
from harness import Program, delivered, eventually
from modes import MODES
from place import BALANCER4, BALANCER6, PATH, SERVER4, SERVER6, Place, listens

WAIT = 8  # seconds for a reply
PROXY_PORT = 9999
ADDRESS = r"\[?(?:IPv6:)?(?P<ip>[0-9A-Fa-f:.]*[0-9A-Fa-f])\]?"
PORT = r"(?P<port>\d+)"


class Talk:
    """The client's side of one conversation, and all that the daemon said in it."""

    def __init__(self, address, source, pieces, joined):
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        self.client = socket.socket(family, socket.SOCK_STREAM)
        self.client.settimeout(WAIT)
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client.bind((source, 0))
        self.client.connect(address)
        self.source = self.client.getsockname()
        self.heard, self.at = b"", 0
        self.held = b""
        *first, last = pieces or (b"",)
        for piece in first:
            self.client.sendall(piece)
            eventually(lambda: delivered(self.client), "the first part is delivered")
            select.select([], [], [], 0.05)
        if joined:
            self.held = last
        else:
            self.client.sendall(last)

    def say(self, words):
        words = words.encode() if isinstance(words, str) else words
        self.client.sendall(self.held + words)
        self.held = b""

    def until(self, pattern):
        """Reads on until the pattern is there, behind what was matched last; returns the match."""
        pattern = re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.S)
        while not (match := pattern.search(self.heard, self.at)):
            data = self.client.recv(65536)
            assert data, f"the daemon hung up before {pattern.pattern!r}: {self.heard!r}"
            self.heard += data
        self.at = match.end()
        return match

    def rest(self):
        while data := self.client.recv(65536):
            self.heard += data

    def close(self):
        self.client.close()


def bracketed(ip):
    return f"[{ip}]" if ":" in ip else ip


class Door:
    """A daemon that was started one way, and what is in front of it."""

    def __init__(self, daemon, folder, six, plain):
        self.daemon, self.six = daemon, six
        self.place = Place(folder, daemon, six, plain, MAX_PENDING=os.environ.get("ROOMS"))
        self.proxies = []
        try:
            self.place.start(daemon.start(self.place), daemon.port)
        except BaseException:
            self.close()
            raise

    def address(self, source):
        return (SERVER6 if ":" in source else SERVER4), self.daemon.port

    def proxy(self, option, client):
        """An HAProxy; returns its address."""
        source = BALANCER6 if self.six else BALANCER4
        host, server_port = self.address(source)
        bind = BALANCER6 if ":" in client else BALANCER4
        config = self.place.folder / f"haproxy.{len(self.proxies)}.cfg"
        port = PROXY_PORT + len(self.proxies)
        config.write_text(f"""\
defaults
    mode tcp
    timeout connect 5s
    timeout client 20s
    timeout server 20s
listen daemon
    bind {bracketed(bind)}:{port}
    server daemon {bracketed(host)}:{server_port} source {bracketed(source)} {option}
""")
        self.proxies.append(Program(["haproxy", "-q", "-db", "-f", config], {"PATH": PATH}, self.place.folder))
        eventually(lambda: listens(port), "HAProxy listens")
        return bind, port

    def log(self):
        return self.place.log(self.daemon.log)

    def close(self):
        for proxy in self.proxies:
            proxy.stop()
        self.place.__exit__()


@pytest.fixture(scope="session")
def doors(tmp_path_factory):
    """doors(daemon, six, plain): one daemon at a time is running."""
    folder = tmp_path_factory.mktemp("places")
    folder.parent.chmod(0o755)
    open_doors = {}

    def clear():
        for door in open_doors.values():
            if isinstance(door, Door):
                door.close()
        open_doors.clear()

    def get(name, mode):
        key = name, mode.start, mode.six
        if key not in open_doors:
            clear()
            open_doors[key] = "the daemon did not start"
            shutil.rmtree(folder / "place", ignore_errors=True)
            (folder / "place").mkdir()
            open_doors[key] = Door(DAEMONS[name], folder / "place", mode.six, mode.start == "control")
        assert isinstance(open_doors[key], Door), open_doors[key]
        return open_doors[key]
    yield get
    clear()


def named(pattern, text):
    """The address and the port (None if it does not say) that the daemon names; None if there is none."""
    match = re.search(pattern.replace("ADDRESS", ADDRESS).replace("PORT", PORT), text)
    if not match:
        return None
    return match["ip"], int(match["port"]) if "port" in match.groupdict() else None


def plain_ip(text):
    ip = ipaddress.ip_address(text)
    return str(getattr(ip, "ipv4_mapped", None) or ip)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.id)
@pytest.mark.parametrize("name", DAEMONS)
def test_names_the_client(doors, name, mode):
    daemon = DAEMONS[name]
    if mode.joined and not daemon.client_first:
        pytest.skip("the daemon speaks first")
    if mode.silent and not os.environ.get("ROOMS"):
        pytest.skip("needs ROOMS=1024 (the waiting room)")
    if mode.six and not daemon.six:
        pytest.skip("the daemon has no IPv6 listener")
    if mode.six and daemon.six == "only" and "." in mode.source and not mode.proxy:
        pytest.skip("the daemon's IPv6 listener takes no IPv4")
    door = doors(name, mode)
    logged = len(door.log())
    with contextlib.ExitStack() as stack:
        for _ in range(mode.silent):
            stack.callback(Talk(door.address(mode.source), mode.source, (), False).close)
        address = door.proxy(mode.proxy, mode.source) if mode.proxy else door.address(mode.source)
        talk = Talk(address, mode.source, mode.pieces, mode.joined)
        stack.callback(talk.close)

        def told():
            return named(daemon.seen, talk.heard.decode(errors="replace") + "\n" + door.log()[logged:])

        if mode.stranger:
            talk.client.settimeout(1)
            with contextlib.suppress(AssertionError, OSError):
                daemon.session(talk)
            found = told()
            assert not found or plain_ip(found[0]) == mode.source
            return
        began = time.monotonic()
        daemon.session(talk)
        assert not mode.silent or time.monotonic() - began < 2.5, "the silent ones were waited for"
        ip, port = eventually(told, f"the client is named: {talk.heard} {door.log()[logged:]} {door.place.told()}", WAIT)
    assert plain_ip(ip) == mode.expected
    if mode.six and mode.start == "control" and "." in ip:
        door_forms[name] = ip.startswith("::ffff:")
    elif mode.six and "." in ip and name in door_forms:
        assert ip.startswith("::ffff:") == door_forms[name], "IPv4 is written as without the library"
    if port is not None:
        assert port == (mode.port or talk.source[1])


door_forms = {}  # whether a daemon on [::] writes IPv4 as ::ffff:a.b.c.d, as the control found
