# SPDX-License-Identifier: MIT
"""The kernel's manners: every case of manners.c without the library, with it, and without a slot."""

import re
import subprocess
from collections import Counter

import pytest

from harness import (HERE, PATIENCE, ask, connect, environment, eventually, find, parse, unsanitized, v1,
                     v2)

CASES = re.findall(r"^CASE\((\w+)\)", (HERE / "manners.c").read_text(), re.M)
MARKS = {
    "errno_is_zero_when_the_program_starts": unsanitized("its runtime leaves one itself", "address", "thread", "memory"),
    "accept_is_restarted_after_a_signal_where_asked":
        unsanitized("it runs handlers only when accept has returned", "thread"),
}
each_case = pytest.mark.parametrize("case", [pytest.param(case, marks=MARKS.get(case, ())) for case in CASES])


def hold(command, env):
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE * 3)
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}{done.stderr}"


@each_case
def test_kernel(manners_path, case):
    hold([manners_path, case], environment(plain=True))


@each_case
def test_library(manners_path, case):
    hold([manners_path, case], environment(LOG="none"))


@each_case
def test_library_where_the_socket_has_no_slot(manners_path, noslot, case):
    hold([manners_path, case], environment(LOG="none", preload=[noslot]))


@pytest.mark.parametrize("mode", ["loop", "fork", "threads", "poll", "epoll"])
def test_server_reports_the_client_where_the_socket_has_no_slot(serve, noslot, mode):
    server = serve(mode, preload=[noslot])
    for i in range(1, 201):
        answer = ask(server.port, v2(f"203.0.113.{i}", 1000 + i))
        assert answer.accept == answer.peer == f"inet 203.0.113.{i} {1000 + i}"


def test_injector_really_takes_the_slot_away(serve, noslot):
    """What the table cannot do shows that the table it was."""
    server = serve("exec", preload=[noslot])
    assert ask(server.port, v1()).peer.startswith("inet 127.0.0.1 ")


@pytest.mark.parametrize("header", [b"", v1()], ids=["plain", "library"])
def test_accept4_sets_flags_on_the_new_descriptor_alone(serve, header):
    server = serve("accept4", plain=not header)
    assert ask(server.port, header).flags == "flags=cloexec,nonblock listener=cloexec"


# ---- what it costs ----

CONNECTIONS = 5


@pytest.fixture
def traced(run, tmp_path, server_path):
    """traced(variables, header): the system calls of a loop server, a list for each connection."""
    strace = find("strace", "strace")

    def start(header, **variables):
        log = tmp_path / f"strace.{len(list(tmp_path.iterdir()))}"
        env = environment(**variables)
        sets = [option for name, value in env.items() if name.startswith(("LD_PRELOAD", "TRUEPEER_"))
                for option in ("-E", f"{name}={value}")]
        server = run([strace, "-o", log, *sets, server_path, "loop"], environment(plain=True)).listening()
        if not log.exists():
            pytest.skip("strace may not trace here")
        converse(server.port, header)
        eventually(lambda: log.read_text().count('"payload"') >= 2 * CONNECTIONS, "the trace is written")
        return connections(log.read_text())
    return start


def converse(port, header):
    """Every connection is there, header and all, before the server accepts it."""
    previous = None
    for _ in range(CONNECTIONS + 1):
        client = connect(port)
        client.sendall(header + b"payload")
        if previous:
            finish(previous)
        previous = client
    finish(previous)


def finish(client):
    data = b""
    while not data.endswith(b"payload"):
        data += client.recv(1000)
    parse(data)
    client.close()


def connections(trace):
    """The system calls of each connection but the first: until it has the report, and after."""
    calls = re.findall(r"^(\w+)\((?:.*(accept=))?", trace, re.M)
    phases = []
    for call, reports in calls:
        if call in ("accept", "accept4"):
            phases.append(([], []))
            phase = 0
        if phases:
            phases[-1][phase].append(call)
            phase = 1 if reports else phase
    return phases[1:CONNECTIONS]


COUNTED = {"STATS": "FOLDER/stats"}


@pytest.mark.parametrize("variables, budget", [({}, 3), ({"LISTEN": "1-65535"}, 4),
                                               ({"LISTEN": "127.0.0.1:1-65535"}, 4), (COUNTED, 4), ({"LISTEN": "1-65535", **COUNTED}, 5)])
@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_system_calls_keep_to_the_budget(traced, tmp_path, header, variables, budget):
    variables = {name: value.replace("FOLDER", str(tmp_path)) for name, value in variables.items()}
    for with_library, without in zip(traced(header, **variables), traced(b"", plain=True)):
        accepting, serving = (Counter(a) - Counter(b) for a, b in zip(with_library, without))
        assert accepting.total() <= budget + 1, accepting  # the one: getpeername looks up the record
        assert not serving, serving


def test_untrusted_source_costs_accept_no_system_call(traced):
    for with_library, without in zip(traced(b"", TRUST="192.0.2.0/24"), traced(b"", plain=True)):
        assert (Counter(with_library[0]) - Counter(without[0])).total() <= 1  # getpeername's
        assert with_library[1] == without[1]


# ---- memory ----

@unsanitized("valgrind excludes other runtimes", "address", "thread", "memory")
@pytest.mark.parametrize("case", ["many_connections_keep_their_names", "threads_accept_side_by_side",
                                  "refused_connections_are_reset_and_never_shown"])
@pytest.mark.parametrize("slot", [True, False], ids=["slot", "table"])
def test_valgrind_finds_nothing(manners_path, noslot, case, slot):
    valgrind = find("valgrind", "valgrind")
    env = environment(LOG="none", preload=[] if slot else [noslot])
    hold([valgrind, "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite",
          manners_path, case], env)
