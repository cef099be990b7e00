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

from catalogue import DAEMONS, FOLDER
from harness import Program, delivered, eventually
from modes import MODES
from recipes import RECIPES
from place import BALANCER4, BALANCER6, PATH, SERVER4, SERVER6, Place, listens

WAIT = 5  # seconds for a reply
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
        self.proxies, self.failed = [], 0
        try:
            self.place.start(daemon.start(self.place), daemon.ready)
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

    @contextlib.contextmanager
    def patience(self):
        """A daemon that fails and fails is not waited for any more."""
        assert self.failed < 3, "it has failed three times"
        self.failed += 1
        yield
        self.failed -= 1

    def logs(self):
        """All that the daemon has logged, a text for each file."""
        path = self.daemon.log and self.place.path(self.daemon.log)
        if not path:
            return self.place.logs()
        return [path.read_text(errors="replace") if path.exists() else ""]

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
            if door:
                door.close()
        open_doors.clear()

    def get(name, mode):
        key = name, mode.start, mode.six
        assert open_doors.get(key, True), "the daemon did not start"
        if key not in open_doors:
            clear()
            open_doors[key] = None
            shutil.rmtree(folder / "place", ignore_errors=True)
            (folder / "place").mkdir()
            open_doors[key] = Door(DAEMONS[name], folder / "place", mode.six, mode.start == "control")
        return open_doors[key]
    get.clear = clear
    yield get
    clear()


class Name:
    """A client as a daemon names it: ip, the port if it says, and whether IPv4 is ::ffff:a.b.c.d."""

    def __init__(self, match):
        ip = ipaddress.ip_address(match["ip"])
        self.mapped = getattr(ip, "ipv4_mapped", None) is not None
        self.ip = str(ip.ipv4_mapped if self.mapped else ip)
        self.port = int(match["port"]) if "port" in match.groupdict() else None

    def __repr__(self):
        return f"{'::ffff:' * self.mapped}{self.ip} {self.port or ''}"


def names(pattern, text):
    return [Name(match) for match in re.finditer(pattern.replace("ADDRESS", ADDRESS).replace("PORT", PORT), text)]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.id)
@pytest.mark.parametrize("name", DAEMONS)
def test_names_the_client(request, doors, name, mode):
    daemon = DAEMONS[name]
    daemon.layers()  # skips what is not here
    if mode.joined and not daemon.client_first:
        pytest.skip("the daemon speaks first")
    if mode.silent and not os.environ.get("ROOMS"):
        pytest.skip("needs ROOMS=1024 (the waiting room)")
    if mode.six and not daemon.six:
        pytest.skip("the daemon has no IPv6 listener")
    if mode.six and daemon.six == "only" and "." in mode.source and not mode.proxy:
        pytest.skip("the daemon's IPv6 listener takes no IPv4")
    if trap := daemon.traps.get(mode.id):
        request.node.add_marker(pytest.mark.xfail(reason=trap, strict=True))
        request.addfinalizer(doors.clear)
    door = doors(name, mode)
    before = [len(text) for text in door.logs()]
    with contextlib.ExitStack() as stack:
        for _ in range(mode.silent):
            stack.callback(Talk(door.address(mode.source), mode.source, (), False).close)
        address = door.proxy(mode.proxy, mode.source) if mode.proxy else door.address(mode.source)
        talk = Talk(address, mode.source, mode.pieces, mode.joined)
        stack.callback(talk.close)

        def told():
            logged = [text[length:] for text, length in zip(door.logs(), before)]
            return "\n".join([talk.heard.decode(errors="replace"), *logged])

        def expected():
            return [name for name in names(daemon.seen, told()) if name.ip == mode.expected]

        if mode.stranger:
            talk.client.settimeout(1)
            with contextlib.suppress(AssertionError, OSError):
                daemon.session(talk)
            assert not [found for found in names(daemon.seen, told()) if found.ip == mode.client]
            return
        began = time.monotonic()
        with door.patience():
            daemon.session(talk)
            assert not mode.silent or time.monotonic() - began < 2.5, "the silent ones were waited for"
            # A log may still get lines of earlier clients, which had other addresses.
            with contextlib.suppress(AssertionError):
                eventually(expected, "the client is named", WAIT)
            assert expected(), f"{told()}\n---\n{door.place.told()}"
    found = expected()[0]
    if mode.six and mode.start == "control" and "." in found.ip:
        door_forms[name] = found.mapped
    elif mode.six and "." in found.ip and name in door_forms:
        assert found.mapped == door_forms[name], "IPv4 is written as without the library"
    if found.port is not None:
        assert found.port == (mode.port or talk.source[1])


def test_every_recipe_is_run():
    """By a daemon's file; what it starts in these tests is what the manual prints."""
    sources = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    assert RECIPES
    for name in RECIPES:
        assert f'recipe("{name}")' in sources or f'use_unit("{name}")' in sources, name


door_forms = {}  # whether a daemon on [::] writes IPv4 as ::ffff:a.b.c.d, as the control found
