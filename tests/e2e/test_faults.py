# SPDX-License-Identifier: MIT
"""Each system call of the library fails, with each error it may have, early, late and at random.

Nothing crashes, leaks a descriptor, spins, reports a wrong address or loses a byte; a
connection is served as it should be or ends without one. When the fault is over, all is well.
"""

import contextlib
import errno
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import PATIENCE, Answer, Program, compiled, connect, environment, eventually, exchange, name, unsanitized, v1, v2

pytestmark = unsanitized("its runtime stands between the library and the injector", "address", "thread", "memory")
ROOMS = os.environ.get("ROOMS")  # how many may wait aside; none unless it is said

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
}
if ROOMS:
    ERRORS |= {
        "epoll_create1": "EMFILE ENOMEM " + DENIED,
        "epoll_ctl": "ENOMEM ENOSPC " + DENIED,
        "timerfd_create": "EMFILE ENOMEM " + DENIED,
        "timerfd_settime": DENIED,
        "timerfd_gettime": DENIED,
        "getrlimit": DENIED,
        "madvise": "ENOMEM EINVAL " + DENIED,
        "sigaction": DENIED,
    }
MOMENTS = "1", "2", "3", "5", "8", "random 1", "random 2", "every"
MODES = "loop", "epoll", "poll-blocking", "fork"
PASSING = {"EINTR", "EAGAIN", "ECONNABORTED"}  # never said for good
TIMEOUT = 0.15
CPU = 0.1  # seconds a trial may use


class Trial(NamedTuple):
    call: str
    error: str
    moment: str
    mode: str

    def __str__(self):
        return " ".join(self)

    @property
    def errno(self):
        return getattr(errno, self.error)

    @property
    def message(self):
        return os.strerror(self.errno)


class Server(Program):
    def descriptors(self):
        with contextlib.suppress(FileNotFoundError):
            return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu(self):
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9


def talk(server, *sent, source=None):
    """All that a client is told; nothing when the connection is reset."""
    try:
        with connect(server.port, source=source) as client:
            return exchange(client, *sent, gap=0.01), name(client.getsockname())
    except TimeoutError:
        raise
    except OSError:
        return b"", None


class Clients:
    """Who asks a server in trouble."""

    def __init__(self, server, trial):
        self.server, self.trial = server, trial

    def is_right(self, answer, wanted, me):
        """Where getpeername itself fails it fails; where the record cannot be read, accept has told."""
        said = {"getpeername": self.trial.message, "getsockopt": me}.get(self.trial.call)
        return answer.accept == wanted and answer.peer in (wanted, said)

    def one(self, number, *header, source=None, wanted=None, payload=None):
        """True when it was served, as who it is and with every byte; False when not at all."""
        payload = payload or b"payload %d" % number
        reply, me = talk(self.server, *header[:-1], b"".join(header[-1:]) + payload, source=source)
        if not reply:
            return False
        answer = parse_any(reply)
        assert self.is_right(answer, wanted or me, me), f"{answer} is {wanted or me}"
        assert answer.payload == payload
        return True

    def good(self, number):
        return self.one(number, v1("203.0.113.7", number), wanted=f"inet 203.0.113.7 {number}")

    def everybody(self):
        """Good ones, late ones, long ones, bad ones, strangers; and one who says nothing meanwhile."""
        late = v1("203.0.113.8", 1)
        long = v2("203.0.113.9", 1, tlvs=b"\x04\x0b\xb8" + bytes(3000))
        with contextlib.suppress(ConnectionError), connect(self.server.port):
            self.good(1)
            self.one(2, late[:20], late[20:], wanted="inet 203.0.113.8 1")
            self.good(3)
            self.one(4, long, wanted="inet 203.0.113.9 1")
            self.one(5, source="127.0.0.2", payload=v1())
            assert not self.one(6, b"PROXY TCP9 "), "what is no header was let in"
            assert not self.one(7, late[:20], payload=b"\r\n"), "half a header was let in"
            self.one(8, late[:20], late[20:], wanted="inet 203.0.113.8 1")


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
        assert talk(server)
        return server.descriptors()
    finally:
        server.stop()


def put_through(trial, server_path, injector, usual, folder):
    """How often the call failed."""
    folder.mkdir()
    log = folder / "fault"
    env = environment(TRUST="127.0.0.1", TIMEOUT=f"{TIMEOUT * 1000:.0f}ms", LISTEN="1-65535",
                      MAX_PENDING=ROOMS or "0",
                      LOG=f"file:{folder}/log,info", preload=[injector])
    server = Server([server_path, trial.mode], {**env, "FAULT": f"{trial.call} {trial.errno} {trial.moment}",
                                                "FAULT_LOG": str(log)}, folder)
    try:
        hold(trial, server, usual, folder / "log", log)
        return fired(log)
    finally:
        server.stop()


def hold(trial, server, usual, log, fault):
    line = server.line()
    # Without its settings the door stays closed; and what the program asked for may fail.
    if fired(fault) and line in ("listen: Invalid argument", f"{trial.call}: {trial.message}"):
        assert server.process.wait(PATIENCE) == 1
        return
    server.port = int(re.fullmatch(r"listening (\d+)", line)[1])
    clients = Clients(server, trial)
    clients.everybody()
    if not trial.moment.isdigit():
        clients.everybody()
    elif not all(clients.good(i) for i in range(10, 13)):
        line = server.line()  # the end of it: the program was told what the kernel said to its own call
        assert line == f"{trial.call}: {trial.message}", f"not served afterwards; {line}"
    if server.process.poll() is not None:
        assert server.process.returncode == 1, f"it ended with {server.process.returncode}"
        return
    most = usual[trial.mode] + 2 + 2 * bool(ROOMS)  # the log, that of the injector; the ends of a room
    eventually(lambda: server.descriptors() <= most, f"{most} descriptors, not {server.descriptors()}")
    assert server.cpu() < CPU, f"{server.cpu():.2f} s of CPU time"


def trials():
    every = [Trial(call, error, moment, mode) for call, errors in ERRORS.items()
             for error in errors.split() for moment in MOMENTS for mode in MODES
             if not (moment == "every" and error in PASSING)]
    return every if os.environ.get("FAULTS") == "all" else every[::7]


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
    with ThreadPoolExecutor(8) as pool:
        every = trials()
        usual = {mode: usual_descriptors(mode, server_path, folder) for mode in MODES}
        results = pool.map(lambda i: outcome(every[i], server_path, injector, usual, folder / str(i)),
                           range(len(every)))
        for trial, (hit, failure) in zip(every, results):
            hits[trial.call] += hit
            wrong.setdefault(trial.call, []).extend([failure] if failure else [])
    return wrong, hits


@pytest.mark.parametrize("call", ERRORS)
def test_call_fails(outcomes, call):
    wrong, hits = outcomes
    assert not wrong[call], "\n".join(wrong[call])
    assert hits[call], "it was never called"
