# SPDX-License-Identifier: MIT
"""Nobody waits for somebody else's header: connections whose header is late cost others nothing."""

import contextlib
import math
import os
import random
import re
import select
import socket
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

import harness
from crowd import Crowd, cpu_share, descriptors, leaked
from daemons import C_SERVERS, CORE, DAEMONS, MODES, Target, by_name, started
from harness import (HERE, PATIENCE, SLOWNESS, ask, connect, environment, eventually, find, free_port, listener, listens,
                     unsanitized, v1, v2)

# ---- every kind of server among silent and dripping clients ----

SILENT, DRIPPING = 200, 50
# make check tells a server that is held up from one that is not, however busy the machine;
# make check-waiting measures.
MEASURED = os.environ.get("WAITING") == "all"
AT_ONCE = 0.05 if MEASURED else 0.5 * SLOWNESS  # seconds over what the same takes without the others
IN_TIME = 0.25 if MEASURED else 1.5 * SLOWNESS  # after the deadline
IDLE = 0.02 if MEASURED else 0.2 * SLOWNESS  # of a processor
GIVE_UP = 1 * SLOWNESS


def soon(condition, within=3 * SLOWNESS):
    """Like eventually, for what a failed trial shall not wait long for."""
    deadline = time.monotonic() + within
    while not (result := condition()) and time.monotonic() < deadline:
        select.select([], [], [], 0.005)
    return result


def greet(target, port=56324):
    """What a well-behaved client is told, and the seconds it took; it gives up some time."""
    began, reply = time.monotonic(), b""
    try:
        with socket.create_connection(("127.0.0.1", target.port), GIVE_UP) as client:
            client.sendall(v1("203.0.113.7", port) + target.request)
            while not re.search(target.until, reply, re.S):
                if not (data := client.recv(65536)):
                    return math.inf, reply
                reply += data
    except OSError:
        return math.inf, reply
    return time.monotonic() - began, reply


def typical(target, attempts=5):
    """The median of a few attempts, but no more once one has been given up."""
    times = []
    for _ in range(attempts):
        times.append(greet(target)[0])
        if times[-1] == math.inf:
            return math.inf
    return statistics.median(times)


def at_rest(target):
    """How many descriptors its processes have, once the last of them has started."""
    counts = None
    for _ in range(10):
        before, counts = counts, descriptors(target.pid, target.staff)
        if counts == before:
            break
        select.select([], [], [], 0.1 * SLOWNESS)
    return counts


def short_header(i):
    return v1(f"1.2.3.{i + 1}", 1000 + i, "5.6.7.8", 80)


def endless_header():
    return v2(tlvs=b"\x04\x01\xf4" + bytes(500))


def put_through(target, deadline, gap):
    """A server's whole trial. The silent ones come first; nothing in here asserts."""
    seen = SimpleNamespace(target=target, deadline=deadline)
    typical(target)
    seen.alone = typical(target)
    before = at_rest(target)
    with Crowd(target.port) as crowd:
        silent = crowd.silent(1)
        seen.beside_one = typical(target)
        silent += crowd.silent(SILENT - 1)
        seen.beside_many = typical(target)
        select.select([], [], [], 0.2)  # the last session is over, for all of them
        seen.cpu = cpu_share(target.pid, 0.5)
        drips = crowd.drip(map(short_header, range(DRIPPING)), gap, target.request, target.until)
        endless = crowd.drip([endless_header()], gap)
        seen.beside_drips = typical(target)
        crowd.wait(drips, deadline + SLOWNESS)
        if target.resets:
            crowd.wait(silent + endless, deadline + SLOWNESS)
        seen.silent, seen.drips, seen.endless = silent, drips, endless
    seen.text = told(target, drips)
    soon(lambda: not leaked(target.pid, before, target.staff))
    seen.leaked = leaked(target.pid, before, target.staff)
    return seen


def told(target, drips):
    """What the server knows of each dripping client: its reply, or the log."""
    if not target.log:
        return [member.reply for member in drips]
    wanted = [target.shows(f"1.2.3.{i + 1}", 1000 + i) for i in range(len(drips))]
    soon(lambda: all(text in target.log.read_bytes() for text in wanted))
    return [target.log.read_bytes()] * len(drips)


# The drips of a real server last about as long as they do in the specification of the issue.
TRIALS = {**{k: (start, 1.5, 0.02) for k, start in C_SERVERS.items()},
          **{k: (start, 4.5, 0.1) for k, start in DAEMONS.items()}}
if not MEASURED:
    TRIALS = {k: trial for k, trial in TRIALS.items() if k in CORE}


def outcomes(members):
    return [member.outcome for member in members]


def check_in_time(members, deadline):
    assert set(outcomes(members)) == {"reset"}
    lasted = sorted(member.lasted for member in members)
    assert deadline - 0.05 < lasted[0]
    assert lasted[-1] < deadline + IN_TIME


@pytest.fixture(scope="module", params=TRIALS)
def trial(request, server_path):
    start, deadline, gap = TRIALS[request.param]
    with started(start, server_path, TIMEOUT=f"{round(deadline * 1000)}ms") as target:
        yield put_through(target, deadline, gap)


def test_client_is_served_at_once_beside_silent_ones(trial):
    assert trial.alone < 1
    assert trial.beside_one < trial.alone + AT_ONCE
    assert trial.beside_many < trial.alone + AT_ONCE


def test_client_is_served_at_once_beside_dripping_ones(trial):
    assert trial.beside_drips < trial.alone + AT_ONCE


def test_dripping_clients_are_served_as_themselves(trial):
    assert outcomes(trial.drips) == ["answered"] * DRIPPING
    for i, text in enumerate(trial.text):
        assert trial.target.shows(f"1.2.3.{i + 1}", 1000 + i) in text


def test_silent_clients_are_reset_in_time(trial):
    if not trial.target.resets:
        pytest.skip("the server defers them itself")
    check_in_time(trial.silent + trial.endless, trial.deadline)


def test_no_descriptor_is_left_open(trial):
    assert trial.leaked == {}


def test_no_cpu_is_spun(trial):
    assert trial.cpu < IDLE


# ---- what a program notices: every case of waiting.c ----

CASES = re.findall(r"^CASE\((\w+)\)", (HERE / "waiting.c").read_text(), re.M)
FORTIFIED = [case for case in CASES if re.search("poll|select|waits|timeouts", case)]


def verdict(path, case, env):
    """What a case has to say, or None when it holds."""
    try:
        done = subprocess.run([path, case], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "it did not end"
    return None if done.returncode == 0 else f"status {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def verdicts(request, waiting_path, fortified_path):
    """They mostly wait, so they do it together: verdicts["test_case", case].result()."""
    library = environment(LOG="none", TIMEOUT=f"{SLOWNESS}s")
    ways = {"test_case_in_the_kernel": (waiting_path, environment(plain=True)),
            "test_case": (waiting_path, library), "test_case_fortified": (fortified_path, library)}
    wanted = [(item.originalname, item.callspec.params["case"]) for item in request.session.items
              if item.originalname in ways]
    with ThreadPoolExecutor(4) as pool:
        yield {(way, case): pool.submit(verdict, ways[way][0], case, ways[way][1]) for way, case in wanted}


@unsanitized("it runs signal handlers late, which is seen here; the library is not", "thread")
@pytest.mark.parametrize("case", CASES)
def test_case_in_the_kernel(verdicts, case):
    assert verdicts["test_case_in_the_kernel", case].result() is None


@pytest.mark.parametrize("case", CASES)
def test_case(verdicts, case):
    assert verdicts["test_case", case].result() is None


@pytest.mark.parametrize("case", FORTIFIED)
def test_case_fortified(verdicts, case):
    assert verdicts["test_case_fortified", case].result() is None


@unsanitized("clang, whose tool it is, does not fortify poll", "memory")
def test_fortified_program_really_is(fortified_path):
    symbols = fortified_path.read_bytes()
    assert b"__poll_chk" in symbols and b"__ppoll_chk" in symbols


# ---- bounds ----

def test_oldest_go_when_too_many_wait(serve):
    server = serve("epoll", MAX_PENDING="4", TIMEOUT="2s")
    with Crowd(server.port) as crowd:
        silent = crowd.silent(6)
        assert crowd.wait(silent[:2], 1) == []
        assert outcomes(silent) == ["reset"] * 2 + [None] * 4
        assert greet(Target(server.port, server.pid, by_name))[0] < AT_ONCE
        assert crowd.wait(silent) == []
        check_in_time(silent[3:], 2)  # one may go for the well-behaved one, who waits a moment, too
    lines = server.stderr.splitlines()
    assert len(lines) == 6 and all("too many connections wait for their header" in line for line in lines[:2])


def test_no_more_wait_than_a_quarter_of_the_descriptors(run, server_path):
    server = run(["sh", "-c", f"ulimit -n 64; exec {server_path} epoll"], environment(TIMEOUT="3s")).listening()
    with Crowd(server.port) as crowd:
        silent = crowd.silent(40)
        assert crowd.wait(silent[:24], 1) == []
        assert outcomes(silent) == ["reset"] * 24 + [None] * 16
        assert ask(server.port, v1()).peer == "inet 203.0.113.7 56324"


def test_late_clients_of_select_get_low_descriptors(serve):
    """Its sets end at 1024, and the silent ones shall not use that up."""
    def numbers():
        return {int(fd.name) for fd in Path(f"/proc/{server.pid}/fd").iterdir()}
    server = serve("select", TIMEOUT="1m")
    before = numbers()
    with Crowd(server.port) as crowd, contextlib.ExitStack() as stack:
        crowd.silent(300)
        late = [stack.enter_context(connect(server.port)) for _ in range(5)]
        for i, client in enumerate(late):
            for piece in split(short_header(i), random.Random(i)):
                client.sendall(piece)
                select.select([], [], [], 0.01)
        for i, client in enumerate(late):
            assert client.recv(4096) == by_name(f"1.2.3.{i + 1}", 1000 + i)
        new = numbers() - before
        assert sum(fd >= 1024 for fd in new) == 300
        assert max(fd for fd in new if fd < 1024) < 32


# ---- those who come first ----

@pytest.mark.parametrize("stays", [0, 0.2], ids=["leaves", "waits"])
def test_server_in_poll_outlives_a_first_client_that_it_does_not_get(run, stays):
    """socat ends when accept on its blocking listener says EAGAIN, which accept never does there."""
    port = free_port()
    socat = run([find("socat", "socat"), f"TCP4-LISTEN:{port},bind=127.0.0.1,fork", "PIPE"], environment(TIMEOUT="1s"))
    eventually(lambda: listens(port), "socat listens")
    with connect(port):
        select.select([], [], [], stays)
    with connect(port) as client:
        client.sendall(v1() + b"words")
        assert client.recv(5) == b"words", socat.stderr


# ---- those who are connected already ----

TALKING = [mode for mode in MODES if mode not in ("loop", "prefork")]


@pytest.mark.parametrize("mode", TALKING)
def test_session_goes_on_beside_the_first_silent_client(serve, mode):
    server = serve(mode, TIMEOUT="2s")
    with connect(server.port) as session, Crowd(server.port) as crowd:
        session.settimeout(GIVE_UP)
        session.sendall(v1())
        assert session.recv(4096) == by_name("203.0.113.7", 56324)
        for count in 1, 0, 9:
            crowd.silent(count)
            began = time.monotonic()
            session.sendall(b"ping")
            assert session.recv(4096) == b"ping"
            assert time.monotonic() - began < AT_ONCE


# ---- processes that serve one client at a time ----

def test_nobody_is_stranded_in_a_process_that_serves_another(serve):
    """One of the four processes is free all the time: it is his to serve who waits."""
    server = serve("prefork", TIMEOUT="10s")
    for i in range(5):
        with contextlib.ExitStack() as stack, Crowd(server.port) as crowd:
            late = stack.enter_context(connect(server.port))
            busy = [stack.enter_context(connect(server.port)) for _ in range(3)]
            for client in busy:  # sessions that last
                client.sendall(v1())
                assert client.recv(4096).startswith(b"accept=")
            late.settimeout(1)
            late.sendall(short_header(i))
            assert late.recv(4096) == by_name(f"1.2.3.{i + 1}", 1000 + i)


@pytest.mark.parametrize("mode", ["prefork", "prefork-exec"])
def test_whoever_is_free_first_serves_those_who_wait(serve, mode):
    """All four processes are busy, and not the one that has parked the late client gets free."""
    server = serve(mode, TIMEOUT="10s")
    with contextlib.ExitStack() as stack:
        late = stack.enter_context(connect(server.port))
        busy = [stack.enter_context(connect(server.port)) for _ in range(4)]
        for client in busy:
            client.sendall(v1())
            assert client.recv(4096).startswith(b"accept=")
        busy[0].close()
        late.sendall(short_header(1))
        late.settimeout(5)
        assert late.recv(4096) == by_name("1.2.3.2", 1001)


def test_child_of_vsftpd_holds_nobody_elses_connection(server_path):
    """It isolates its children by a raw system call: they are copied with all that waits."""
    with started(DAEMONS["vsftpd"], server_path, TIMEOUT="10s") as target, connect(target.port) as late:
        late.settimeout(2)
        with connect(target.port) as other:
            other.sendall(v1())
            assert other.recv(4096).startswith(b"220 ")
            late.sendall(v1("1.2.3.4") + b"QUIT\r\n")
            assert b"221 " in harness.read_all(late)


# ---- listeners from outside ----

INHERITING = ["loop", "threads", "select", "poll", "poll-blocking", "epoll", "epoll-blocking", "epoll-exclusive"]


def check_neighbours(port, pid, silent=20):
    target = Target(port, pid, by_name)
    alone = typical(target)
    with Crowd(port) as crowd:
        others = crowd.silent(silent)
        assert typical(target) < alone + AT_ONCE
        late = crowd.drip([short_header(7)], 0.01)
        assert crowd.wait(late, 2) == [] and late[0].reply == target.shows("1.2.3.8", 1007)
        assert crowd.wait(others, 2) == []
        check_in_time(others, 1)


@pytest.mark.parametrize("mode", INHERITING)
def test_inherited_listener(run, server_path, mode):
    with listener() as inherited:
        inherited.listen(512)
        server = run([server_path, "-l", str(inherited.fileno()), mode], environment(TIMEOUT="1s"),
                     fds=[inherited.fileno()]).listening()
    check_neighbours(server.port, server.pid)


@pytest.mark.parametrize("mode", INHERITING)
def test_inherited_listener_where_proc_is_missing(run, server_path, mode):
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "umount", "-l", "/proc"], capture_output=True).returncode:
        pytest.skip("/proc cannot be taken away here")
    with listener() as inherited:
        inherited.listen(512)
        command = f"umount -l /proc; exec {server_path} -l {inherited.fileno()} {mode}"
        server = run(["unshare", "-m", "sh", "-c", command], environment(TIMEOUT="1s"),
                     fds=[inherited.fileno()]).listening()
    check_neighbours(server.port, server.pid)


# ---- TCP_DEFER_ACCEPT ----

def deferral(waiting_path, backlog, **variables):
    """The seconds that a listener defers its clients for, and the backlog it has got."""
    env = environment(LOG="none", **variables)
    return [int(word) for word in subprocess.check_output([waiting_path, "deferral", str(backlog)], env=env).split()]


@pytest.mark.parametrize("deferred, variables", [
    (False, {}),
    (False, {"DEFER": "off", "UNTRUSTED": "reject"}),
    (False, {"UNTRUSTED": "reject", "HEADER": "optional"}),
    (False, {"DEFER": "on", "LISTEN": "1"}),
    (False, {"DEFER": "on", "TRUST": None}),
    (True, {"DEFER": "on"}),
    (True, {"UNTRUSTED": "reject"}),
    (True, {"DEFER": "auto", "TRUST": "all"}),
    (True, {"TRUST": "0.0.0.0/0 ::/0"}),
], ids=str)
def test_accept_is_deferred_where_nobody_is_held_up(waiting_path, deferred, variables):
    seconds, backlog = deferral(waiting_path, 16, **variables)
    assert (seconds > 0) == deferred
    assert backlog == 16 if not deferred else backlog >= 1024


def test_the_longest_backlog_is_not_cut(waiting_path):
    longest = int(Path("/proc/sys/net/core/somaxconn").read_text())
    if longest <= 1024:
        pytest.skip("the system's longest backlog is no longer than the one that deferring asks for")
    assert deferral(waiting_path, -1, DEFER="on")[1] == longest


@pytest.mark.parametrize("mode", ["loop", "epoll"])
def test_deferred_clients_hold_nobody_up(serve, mode):
    server = serve(mode, DEFER="on", TIMEOUT="1s")
    target = Target(server.port, server.pid, by_name)
    alone = typical(target)
    with Crowd(server.port) as crowd:
        silent = crowd.silent(SILENT)
        assert typical(target) < alone + AT_ONCE
        late = crowd.drip(map(short_header, range(DRIPPING)), 0.01)
        assert typical(target) < alone + AT_ONCE
        assert crowd.wait(late, 2) == []
        assert [member.reply for member in late] == [by_name(f"1.2.3.{i + 1}", 1000 + i) for i in range(DRIPPING)]
        # The kernel keeps them until its own second is over, and then it is accept's turn.
        assert crowd.wait(silent, 10) == [] and outcomes(silent) == ["reset"] * SILENT


@contextlib.contextmanager
def deferring(run, server_path, mode, backlog, **variables):
    """A server that defers its clients for a second by itself."""
    with listener() as inherited:
        inherited.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        inherited.listen(backlog)
        yield run([server_path, "-l", str(inherited.fileno()), mode], environment(**variables),
                  fds=[inherited.fileno()]).listening()


@pytest.mark.parametrize("mode", ["loop", "epoll"])
def test_server_that_defers_shortens_no_deadline(run, server_path, mode):
    with deferring(run, server_path, mode, 512, TIMEOUT="3s") as server, Crowd(server.port) as crowd:
        silent = crowd.silent(20)
        with connect(server.port) as late:
            select.select([], [], [], 1.5)
            late.sendall(v1())
            assert late.recv(4096) == by_name("203.0.113.7", 56324)
        assert crowd.wait(silent) == []
        check_in_time(silent, 3)


def test_nobody_is_late_who_was_not_deferred(run, server_path):
    """The kernel defers none where as many as the backlog holds are deferred already (SYN cookies)."""
    with deferring(run, server_path, "epoll", 8, TIMEOUT="3s") as server, Crowd(server.port) as crowd:
        crowd.silent(20)
        with connect(server.port) as late:
            select.select([], [], [], 0.2)
            late.sendall(v1())
            assert late.recv(4096) == by_name("203.0.113.7", 56324)


# ---- stress ----

CONNECTIONS = int(os.environ.get("STRESS", 800))
KINDS = {"good": 40, "split": 40, "silent": 3, "malformed": 7, "leaver": 10}
MALFORMED = [b"GET / HTTP/1.0\r\n\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP5 ", v2()[:13] + b"\xff" + v2()[14:]]


def split(data, rng):
    cuts = sorted(rng.sample(range(1, len(data)), rng.randint(1, 5)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)])]


def stress_client(crowd, i, kind, rng):
    """A client that is told apart by its claimed name and by what it says."""
    name, words = (f"203.0.{i >> 16}.7", i & 0xffff), f"words of {i}\n".encode()
    data = rng.choice([v1, v2])(*name) + words
    if kind == "silent":
        member = crowd.join()
    elif kind == "malformed":
        member = crowd.join(rng.choice(MALFORMED))
    elif kind == "leaver":
        pieces = split(data, rng)
        member = crowd.join(*pieces[:rng.randint(1, len(pieces))], gap=rng.uniform(0, 0.01), leave=True,
                            until=b"never")
    else:
        pieces = [data] if kind == "good" else split(data, rng)
        member = crowd.join(*pieces, gap=rng.uniform(0, 0.02), until=re.escape(words) + b"$")
    member.kind, member.expected = kind, by_name(*name) + words
    return member


@pytest.mark.parametrize("mode", ["epoll-shared", "epoll-exclusive", "fork", "threads"])
def test_stress(serve, mode):
    seed = int(os.environ.get("SEED", time.time()))
    print("SEED", seed)
    rng = random.Random(seed)
    timeout = 2 * SLOWNESS
    server = serve(mode, TIMEOUT=f"{timeout}s", LOG="none")
    ask(server.port, v1())
    before = descriptors(server.pid)
    kinds = rng.choices(list(KINDS), KINDS.values(), k=CONNECTIONS)
    with Crowd(server.port) as crowd:
        members = []
        for i, kind in enumerate(kinds):
            members.append(stress_client(crowd, i, kind, rng))
            while len(crowd.present) > 300:
                select.select([], [], [], 0.001)
        assert crowd.wait(members) == []
    strange = [(member.kind, member.outcome, member.reply, member.expected) for member in members if not (
        (member.outcome, member.reply) == ("answered", member.expected) if member.kind in ("good", "split") else
        (member.outcome, member.reply) == ("reset", b"") if member.kind in ("silent", "malformed") else
        member.expected.startswith(member.reply))]
    assert strange == []
    check_in_time([member for member in members if member.kind == "silent"], timeout)
    eventually(lambda: not leaked(server.pid, before), "no descriptor more than before")
