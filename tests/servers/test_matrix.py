# SPDX-License-Identifier: MIT
"""Every daemon in every mode: it names the client that it should, and holds its conversation.

What it runs is in the environment: SERVERS, daemons' names or "core" (not set) or "all"; ROOTS, a folder
for Debian's packages (not set: those of this machine); ROOMS, TRUEPEER_MAX_PENDING (not set: the
library's own number)."""

import contextlib
import os
import shutil
import time

import pytest

from catalogue import DAEMONS, FOLDER, every_daemon
from harness import Program, eventually, foreign, v2
from modes import MODES
from place import BALANCER4, BALANCER6, CLIENTS4, PATH, SERVER4, SERVER6, Place, listens
from recipes import LOGS, RECIPES
from talk import Talk, named_within, names

PROXY_PORT = 9999


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


@pytest.fixture(scope="module")
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
    yield get
    clear()


@foreign
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.id)
@pytest.mark.parametrize("name", DAEMONS)
def test_names_the_client(doors, name, mode):
    daemon = DAEMONS[name]
    daemon.layers()  # skips what is not here
    if mode.joined and not daemon.client_first:
        pytest.skip("the daemon speaks first")
    if (mode.silent or mode.overtaken) and os.environ.get("ROOMS") == "0":
        pytest.skip("no waiting room: ROOMS=0")
    if daemon.secure and mode.start == "truepeer" and not Place.reads_rules():
        pytest.skip("secure execution: the library reads no rules file")
    if mode.reloaded and not daemon.reload:
        pytest.skip("the daemon does not execute itself anew")
    if mode.six and not daemon.six:
        pytest.skip("the daemon has no IPv6 listener")
    if mode.six and daemon.six == "only" and "." in mode.source and not mode.proxy:
        pytest.skip("the daemon's IPv6 listener takes no IPv4")
    door = doors(name, mode)
    for _ in range(2 * mode.reloaded):
        daemon.reload(door.place)
    before = [len(text) for text in door.logs()]
    with contextlib.ExitStack() as stack:
        for _ in range(mode.silent):
            stack.callback(Talk(door.address(mode.source), mode.source).close)
        address = door.proxy(mode.proxy, mode.source) if mode.proxy else door.address(mode.source)
        talk = Talk(address, mode.source, mode.pieces[:1] if mode.overtaken else mode.pieces, mode.joined)
        stack.callback(talk.close)
        if mode.overtaken:
            other = Talk(address, mode.source, (v2(CLIENTS4.format(9)),))
            stack.callback(other.close)
            daemon.session(other)
            other.close()
            talk.client.sendall(mode.pieces[1])

        def told():
            logged = [text[length:] for text, length in zip(door.logs(), before)]
            return talk.text() + "\n".join(logged)

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
            found = named_within(daemon.seen, mode.expected, told)
            assert found, f"{told()}\n---\n{door.place.told()}"
    if mode.six and mode.start == "control" and "." in found.ip:
        door_forms[name] = found.mapped
    elif mode.six and "." in found.ip and name in door_forms:
        assert found.mapped == door_forms[name], "IPv4 is written as without the library"
    if found.port is not None:
        assert found.port == (mode.port or talk.source[1])


def test_every_recipe_is_run():
    """By a daemon's file; what it starts in these tests is what the manual prints."""
    sources = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    services = (FOLDER.parent / "test_systemd.py").read_text()
    assert RECIPES
    for name in RECIPES:
        used = f'recipe("{name}")' in sources or f'use_unit("{name}")' in sources
        assert used or f'"{name}.service' in services, name


def test_logs_are_as_the_manual_shows_them():
    every = dict(every_daemon())
    assert LOGS
    for name, line in LOGS.items():
        assert [found.ip for found in names(every[name].seen, line)] == ["203.0.113.7"], line


door_forms = {}  # whether a daemon on [::] writes IPv4 as ::ffff:a.b.c.d, as the control found
