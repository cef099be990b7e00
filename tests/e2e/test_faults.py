# SPDX-License-Identifier: MIT
"""Each system call of the library fails, with each error it may have, early, late and at random.

Nothing crashes, leaks a descriptor, spins, reports a wrong address or loses a byte; a
connection is served as it should be or ends without one. When the fault is over, all is well.

FAULTS=all makes all trials, FAULTS="fcntl poll" those of these calls; else it is a selection.
"""

import contextlib
import errno
import os
import re
import shlex
import socket
import subprocess
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

from harness import (LIBRARY, PATIENCE, Answer, Program, compiled, connect, environment, eventually, name, read_all,
                     unsanitized, v1, v2)

pytestmark = unsanitized("its runtime stands between the library and the injector", "address", "thread", "memory")
FAULTS = os.environ.get("FAULTS", "")

# What the kernel (and a seccomp filter: EPERM, ENOSYS) may say to each.
DENIED = "EPERM ENOSYS"
ERRORS = {
    "recv": "EINTR EAGAIN ENOMEM ENOBUFS ECONNRESET ENOTCONN " + DENIED,
    "accept": "EINTR EAGAIN EMFILE ENOBUFS ENOMEM ECONNABORTED " + DENIED,
    "getpeername": "ENOTCONN ENOBUFS " + DENIED,
    "getsockname": "ENOBUFS " + DENIED,
    "getsockopt": "ENOMEM ENOBUFS " + DENIED,
    "setsockopt": "EINVAL ENOMEM ENOBUFS " + DENIED,
    "connect": "EINTR EAGAIN " + DENIED,
    "close": "EINTR EIO",
    "poll": "EINTR ENOMEM " + DENIED,
    "mmap": "ENOMEM EAGAIN " + DENIED,
    "munmap": "ENOMEM " + DENIED,
    "clock_gettime": DENIED,
    "sendmsg": "EINTR EAGAIN ENOBUFS ECONNRESET " + DENIED,
    "writev": "EINTR EAGAIN ENOSPC " + DENIED,
    "fstat": "ENOMEM " + DENIED,
    "open": "EINTR EMFILE ENOMEM " + DENIED,
    "fcntl": "EINTR EMFILE " + DENIED,
    "epoll_create1": "EMFILE ENOMEM " + DENIED,
    "epoll_ctl": "ENOMEM ENOSPC " + DENIED,
    "epoll_wait": "EINTR " + DENIED,
    "timerfd_create": "EMFILE ENOMEM " + DENIED,
    "timerfd_settime": DENIED,
    "timerfd_gettime": DENIED,
    "ppoll": "EINTR ENOMEM " + DENIED,
    "socketpair": "EMFILE ENOMEM ENOBUFS " + DENIED,
    "bind": "ENOMEM EADDRINUSE " + DENIED,
    "listen": "EADDRINUSE " + DENIED,
    "recvmsg": "EINTR EAGAIN ENOMEM ENOBUFS " + DENIED,
    "getrlimit": DENIED,
    "madvise": "ENOMEM EINVAL " + DENIED,
    "sigaction": DENIED,
    "syscall": DENIED,
    "openat": "EINTR EMFILE ENOMEM " + DENIED,
    "readlink": "ENOMEM " + DENIED,
    "readlinkat": "ENOMEM " + DENIED,
    "read": "EINTR EIO " + DENIED,
    "mkostemp": "EMFILE ENOSPC " + DENIED,
    "posix_fallocate": "EINTR ENOSPC " + DENIED,
    "pread": "EINTR EIO " + DENIED,
    "pwrite": "EINTR ENOSPC " + DENIED,
    "fchmod": DENIED,
    "link": "ENOSPC " + DENIED,
    "unlink": DENIED,
}
# What these servers have no use for, or what cannot fail.
UNTRIED = set("access geteuid getpid rename shutdown signalfd socket".split())
CALLS = [call for call in ERRORS if FAULTS in ("", "all") or call in FAULTS.split()]
MOMENTS = "1", "2", "3", "5", "8", "random 1", "random 2", "every", "from 20"
MODES = "loop", "epoll", "poll-blocking", "select", "fork", "prefork", "prefork-exec"
ROOMLESS = "loop", "epoll"
PROCESSES = {"prefork": 4, "prefork-exec": 6}
PASSING = {"EINTR", "EAGAIN", "ECONNABORTED"}  # never said for good
TIMEOUT = 0.15
CPU = 0.1  # seconds a trial may use


class Trial(NamedTuple):
    call: str
    error: str
    moment: str
    mode: str
    rooms: bool

    def __str__(self):
        return " ".join(self[:4]) + (" without rooms" if not self.rooms else "")

    @property
    def errno(self):
        return getattr(errno, self.error)

    @property
    def message(self):
        return os.strerror(self.errno)

    @property
    def last_words(self):
        """Of a program whose own call failed, or the library's in its place."""
        calls = ("accept", "poll", "select") if self.call in ("poll", "ppoll") else (self.call,)
        return [f"{call}: {self.message}" for call in calls]


class Server(Program):
    """With its children."""

    def processes(self, pid=None):
        """It and its descendants."""
        found = [pid or self.pid]
        for path in Path(f"/proc/{found[0]}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += chain.from_iterable(map(self.processes, path.read_text().split()))
        return found

    def files(self, pattern):
        """In /proc, of those that are still there."""
        return chain.from_iterable(Path(f"/proc/{pid}").glob(pattern) for pid in self.processes())

    def descriptors(self):
        return sum(1 for _ in self.files("fd/*"))

    def cpu(self):
        times = 0
        for path in self.files("task/*/schedstat"):
            with contextlib.suppress(OSError):
                times += int(path.read_text().split()[0])
        return times / 1e9

    def last_word(self):
        """Nothing when it goes on."""
        with contextlib.suppress(AssertionError):
            while (line := self.line() or "").startswith("listening"):
                pass
            return line
        return ""


class Visit(NamedTuple):
    reply: bytes  # nothing when the connection is reset
    me: Optional[str]
    sending: float  # how many seconds that took


def talk(server, *sent, payload=b"", source=None):
    """All that a client is told. Its payload has to come before it ends."""
    began, sending = time.monotonic(), None
    try:
        with connect(server.port, source=source) as client:
            for piece in sent:
                client.sendall(piece)
                time.sleep(0.01)
            sending = time.monotonic() - began
            reply = b""
            while not reply.endswith(payload) or not reply:
                reply += (piece := client.recv(65536))
                if not piece:
                    break
            client.shutdown(socket.SHUT_WR)
            return Visit(reply + read_all(client), name(client.getsockname()), sending)
    except TimeoutError:
        raise
    except OSError:
        return Visit(b"", None, sending or time.monotonic() - began)


class Clients:
    """Who asks a server in trouble."""

    def __init__(self, server, trial):
        self.server, self.trial = server, trial
        self.in_time = True  # whoever was not served last

    def is_right(self, answer, wanted, me):
        """Where getpeername itself fails it fails; where the record cannot be read, accept has told."""
        said = {"getpeername": self.trial.message, "getsockopt": me}.get(self.trial.call)
        return answer.accept == wanted and answer.peer in (wanted, said)

    def one(self, number, *header, source=None, wanted=None, payload=None):
        """True when it was served, as who it is and with every byte; False when not at all."""
        payload = payload or b"payload %d" % number
        reply, me, sending = talk(self.server, *header[:-1], b"".join(header[-1:]) + payload, payload=payload,
                                  source=source)
        if not reply:
            self.in_time = sending < TIMEOUT / 2
            return False
        answer = parse_any(reply)
        assert self.is_right(answer, wanted or me, me), f"{answer} is {wanted or me}"
        assert answer.payload == payload
        return True

    def good(self, number):
        return self.one(number, v1("203.0.113.7", number), wanted=f"inet 203.0.113.7 {number}")

    def late(self, number):
        header = v1("203.0.113.8", number)
        return self.one(number, header[:20], header[20:], wanted=f"inet 203.0.113.8 {number}")

    def are_served(self, ask, attempts):
        """At least one of so many, without those who are late themselves: the machine may be busy."""
        deadline = time.monotonic() + PATIENCE
        while attempts and time.monotonic() < deadline:
            if ask(10 + attempts):
                return True
            attempts -= self.in_time
        return False

    def everybody(self):
        """Good ones, late ones, long ones, bad ones, strangers; and one who says nothing meanwhile."""
        begun = v1()[:20]
        long = v2("203.0.113.9", 1, tlvs=b"\x04\x0b\xb8" + bytes(3000))
        with contextlib.suppress(ConnectionError), connect(self.server.port):
            self.good(1)
            self.late(2)
            self.good(3)
            self.one(4, long, wanted="inet 203.0.113.9 1")
            self.one(5, source="127.0.0.2", payload=v1())
            assert not self.one(6, b"PROXY TCP9 "), "what is no header was let in"
            assert not self.one(7, begun, payload=b"\r\n"), "half a header was let in"
            self.late(8)


def parse_any(reply):
    """As parse, also where getpeername has failed."""
    line, _, payload = reply.partition(b"\n")
    accept, peer = re.fullmatch(r"accept=(.*) peer=(.*)", line.decode()).groups()
    return Answer(accept, peer, "", payload)


def fired(log):
    return log.stat().st_size if log.exists() else 0


def usual_descriptors(mode, server_path, folder):
    """Of a server that has served somebody, without the library."""
    server = Server([server_path, mode], environment(plain=True), folder).listening()
    try:
        assert talk(server, b"all", payload=b"all").reply
        eventually(lambda: len(server.processes()) == PROCESSES.get(mode, 1), "its processes")
        return server.descriptors()
    finally:
        server.stop()


def put_through(trial, server_path, injector, usual, folder):
    """How often the call failed."""
    folder.mkdir()
    log = folder / "fault"
    env = environment(TRUST="127.0.0.1", TIMEOUT=f"{TIMEOUT * 1000:.0f}ms", LISTEN="1-65535",
                      MAX_PENDING=None if trial.rooms else "0",
                      LOG=f"file:{folder}/log,info", STATS=str(folder / "stats"), preload=[injector])
    server = Server([server_path, trial.mode], {**env, "FAULT": f"{trial.call} {trial.errno} {trial.moment}",
                                                "FAULT_LOG": str(log)}, folder)
    try:
        hold(trial, server, usual, log)
        return fired(log)
    finally:
        server.stop()


def hold(trial, server, usual, fault):
    line = server.line()
    # Without its settings the door stays closed; and what the program asked for may fail.
    if fired(fault) and line in ("listen: Invalid argument", f"{trial.call}: {trial.message}"):
        assert server.process.wait(PATIENCE) == 1
        return
    server.port = int(re.fullmatch(r"listening (\d+)", line)[1])
    clients, processes = Clients(server, trial), PROCESSES.get(trial.mode, 1)
    clients.everybody()
    if not trial.moment.isdigit():
        clients.everybody()
    elif (trial.call, trial.mode) == ("mmap", "prefork-exec"):
        pass  # programs that could not read their settings serve nobody
    # Each process may meet it once.
    elif not all(clients.are_served(ask, processes + 5) for ask in (clients.good, clients.late)):
        line = server.last_word()  # the end of it: the program was told what the kernel said to its own call
        assert line in trial.last_words, f"not served afterwards; {line}"
    if server.process.poll() is not None:
        assert server.process.returncode == 1, f"it ended with {server.process.returncode}"
        return
    most = usual[trial.mode] + (4 if trial.rooms else 2) * processes  # the log, that of the injector; a channel's ends
    eventually(lambda: server.descriptors() <= most, f"{most} descriptors, not {server.descriptors()}")
    assert server.cpu() < CPU * processes, f"{server.cpu():.2f} s of CPU time"


def trials_of(call):
    ways = [(mode, True) for mode in MODES] + [(mode, False) for mode in ROOMLESS]
    return [Trial(call, error, moment, *way) for error in ERRORS[call].split() for moment in MOMENTS for way in ways
            if moment[0] not in "ef" or error not in PASSING]


def selection(every):
    """One in which nearly everything is called, and some others."""
    return [next(trial for trial in every if trial[2:4] == ("1", "prefork-exec")), *every[7::len(every) // 3]]


def trials():
    return [trial for call in CALLS for trial in (trials_of(call) if FAULTS else selection(trials_of(call)))]


def outcome(trial, *how):
    try:
        return put_through(trial, *how), None
    except Exception as failure:
        return 0, f"{trial}: {failure!r}"


@pytest.fixture(scope="module")
def injector(built):
    return compiled("FAULTS_INJECTOR", "faults.c", built, "-std=gnu11", "-shared", "-fPIC")


@pytest.fixture(scope="module")
def outcomes(server_path, injector, tmp_path_factory):
    """Of each call: what went wrong, and how often it failed."""
    folder = tmp_path_factory.mktemp("faults")
    wrong, hits = {}, Counter()
    with ThreadPoolExecutor(16) as pool:
        every = trials()
        usual = {mode: usual_descriptors(mode, server_path, folder) for mode in MODES}
        results = pool.map(lambda i: outcome(every[i], server_path, injector, usual, folder / str(i)),
                           range(len(every)))
        for trial, (hit, failure) in zip(every, results):
            hits[trial.call] += hit
            wrong.setdefault(trial.call, []).extend([failure] if failure else [])
    return wrong, hits


@pytest.mark.parametrize("call", CALLS)
def test_call_fails(outcomes, call):
    wrong, hits = outcomes
    assert not wrong[call], "\n".join(wrong[call])
    assert hits[call], "it was never called"


def test_every_system_call_is_tried():
    """Those with a function of the same name."""
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    numbers = run([*shlex.split(os.environ.get("CC", "cc")), "-E", "-dM", "-xc", "-"], input="#include <sys/syscall.h>")
    used = {line.split()[-1].split("@")[0] for line in run(["nm", "-D", "--undefined-only", LIBRARY]).stdout.splitlines()}
    calls = used & set(re.findall(r"#define SYS_(\w+)", numbers.stdout))
    assert "epoll_create1" in calls and calls == calls & (ERRORS.keys() | UNTRIED)
