# SPDX-License-Identifier: MIT
"""The counters: what is counted, by how many processes, for how long; and truepeer stats."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import (COMMAND, HERE, PATIENCE, ask, connect, environment, eventually, exchange, find, is_refused,
                     read_all, rules_in, v1, v1_six, v2)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "truepeer.stats"


def command(*words, **env):
    return subprocess.run([COMMAND, "stats", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE,
                          env={**environment(plain=True), **env})


def stats(target):
    done = command("--json", target)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counted(target, port=None):
    """{"rejected silent": 3, ...} of one listener, or of all."""
    sums = {}
    for listener in stats(target)["listeners"]:
        for entry in listener["connections"]:
            if port is None or listener["listener"].endswith(f":{port}"):
                key = f"{entry['outcome']} {entry['reason']}".strip()
                sums[key] = sums.get(key, 0) + entry["count"]
    return sums


def parked(target):
    return stats(target)["parked"]


# ---- what is counted ----

ONE = [
    (v1(), {}, "proxied"), (v2(), {}, "proxied"), (v1_six(), {}, "proxied"),
    (v2(command=0), {}, "local local"), (b"PROXY UNKNOWN\r\n", {}, "local unknown"),
    (v1_six(), {"IPV6": "keep"}, "local ipv6"), (b"x", {"HEADER": "optional"}, "local no_header"),
    (None, {"HEADER": "optional", "TIMEOUT": "100ms"}, "local silent"),
    (b"", {"HEADER": "optional"}, "local probe"), (b"x", {"TRUST": "192.0.2.0/24"}, "untrusted"),
    (b"x", {}, "rejected no_header"), (None, {"TIMEOUT": "100ms"}, "rejected silent"), (b"", {}, "rejected probe"),
    (v2()[:20], {}, "rejected cut"), (b"PROXY x\r\n", {}, "rejected malformed"),
    (v1(), {"VERSIONS": "2"}, "rejected version"), (v1_six(), {"IPV6": "reject"}, "rejected ipv6"),
    (b"x", {"TRUST": "192.0.2.0/24", "UNTRUSTED": "reject"}, "rejected untrusted"),
]


@pytest.mark.parametrize("rooms", ["0", "16"], ids=["waits", "parks"])
@pytest.mark.parametrize("data, variables, what", ONE, ids=[what for _, _, what in ONE])
def test_connection_is_counted_once_and_by_its_reason(serve, file, data, variables, what, rooms):
    server = serve("epoll", STATS=file, MAX_PENDING=rooms, **variables)
    with contextlib.suppress(OSError), connect(server.port) as client:
        if data is None:
            client.recv(1)
        else:
            exchange(client, data)
    assert eventually(lambda: counted(file), "it is counted") == {what: 1}
    assert counted(file, server.port) == {what: 1}


@pytest.mark.parametrize("rooms", ["0", "16"], ids=["waits", "parks"])
def test_header_that_was_never_completed_is_late(serve, file, rooms):
    server = serve("epoll", STATS=file, MAX_PENDING=rooms, TIMEOUT="100ms")
    with connect(server.port) as client, pytest.raises(ConnectionResetError):
        client.sendall(v1()[:10])
        read_all(client)
    assert counted(file) == {"rejected late": 1}


def test_settings_that_are_wrong_are_counted_too(run, server_path, file):
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        inherited.set_inheritable(True)
        fd = inherited.fileno()
        server = run([server_path, "-l", fd, "loop"], environment(STATS=file, TRUST="x"), [fd]).listening()
        assert is_refused(server.port, v1())
    assert counted(file) == {"rejected settings": 1}


def test_connections_to_other_listeners_are_not_counted(serve, file):
    server = serve("loop", STATS=file, LISTEN="1")
    for data in v1(), b"x":
        ask(server.port, data)
    assert counted(file) == {}


def test_waiting_times_are_in_the_histogram(serve, file):
    server = serve("epoll", STATS=file, MAX_PENDING="16")
    ask(server.port, v1())
    with connect(server.port) as client:
        exchange(client, v1()[:9], v1()[9:], gap=0.3)
    [listener] = stats(file)["listeners"]
    assert listener["header_wait"]["count"] == 2
    assert 0.25 <= listener["header_wait"]["sum_seconds"] < 5
    buckets = re.findall(r'bucket\{listener=".*",le="(.*)"\} (\d+)', command("--prometheus", file).stdout)
    counts = [int(count) for _, count in buckets]
    assert counts == sorted(counts) and dict(buckets)["0.1"] == "1" and dict(buckets)["+Inf"] == "2"


def test_each_listener_is_counted_by_the_address_it_is_bound_to(serve, file):
    any_four, any_six = serve("loop", "-a", "0.0.0.0", STATS=file), serve("loop", "-6", "-a", "::", STATS=file)
    for server, times in (any_four, 2), (any_six, 3):
        for _ in range(times):
            ask(server.port, v1())
    assert [(each["listener"], each["connections"][0]["count"]) for each in stats(file)["listeners"]] == [
        (f"0.0.0.0:{any_four.port}", 2), (f"[::]:{any_six.port}", 3)]


# ---- by many processes ----

def crowd(port, good, bad):
    """Clients at once: each good one is served, each bad one reset."""
    jobs = [v2(f"203.0.113.{i % 250}", 1000 + i) for i in range(good)] + [b"x"] * bad
    def visit(data):
        if data == b"x":
            assert is_refused(port, data)
        else:
            assert ask(port, data).peer == f"inet {socket.inet_ntoa(data[16:20])} {int.from_bytes(data[24:26], 'big')}"
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(visit, jobs))


MODES = ["loop", "threads", "fork", "exec", "pass", "prefork", "poll", "epoll", "epoll-shared"]


@pytest.mark.parametrize("mode", MODES)
def test_sum_over_all_processes_is_exact(serve, file, mode):
    server = serve(mode, STATS=file, LOG="none")
    crowd(server.port, 200, 50)
    assert counted(file) == {"proxied": 200, "rejected no_header": 50}


@pytest.mark.parametrize("mode", ["prefork", "fork", "threads", "exec", "epoll", "epoll-shared"])
def test_sum_is_exact_where_connections_are_parked(serve, file, mode):
    server = serve(mode, STATS=file, LOG="none", MAX_PENDING="100", TIMEOUT="1s")
    silent = [connect(server.port) for _ in range(20)]
    crowd(server.port, 200, 50)
    for client in silent:
        with client, pytest.raises(ConnectionResetError):
            read_all(client)
    eventually(lambda: counted(file, server.port) == {"proxied": 200, "rejected no_header": 50, "rejected silent": 20},
               "all are counted")
    assert counted(file) == counted(file, server.port)
    eventually(lambda: parked(file) == 0, "none is parked")


def test_connection_is_counted_right_whatever_process_serves_it(serve, file):
    """Three of four processes are busy: mostly another one than took it goes on with the slow connection."""
    other = serve("loop", STATS=file)
    ask(other.port, v1())
    server = serve("prefork", STATS=file, MAX_PENDING="100")
    # Who has slept in accept since before the first was parked looks after nobody (truepeer(7), BUGS).
    with connect(server.port) as slow, contextlib.ExitStack() as stack:
        eventually(lambda: parked(file) == 1, "the first is parked")
        for _ in range(4):
            busy = stack.enter_context(connect(server.port))
            busy.sendall(v1())
            assert busy.recv(1000)
    for _ in range(4):
        with connect(server.port) as slow, contextlib.ExitStack() as stack:
            slow.sendall(v1()[:9])
            for _ in range(3):
                busy = stack.enter_context(connect(server.port))
                busy.sendall(v1())
                assert busy.recv(1000)
            select.select([], [], [], 0.3)
            assert parked(file) == 1
            exchange(slow, v1()[9:])
    assert counted(file, server.port) == {"proxied": 4 + 16, "rejected probe": 1} and counted(file, other.port) == {"proxied": 1}
    assert stats(file)["listeners"][1]["header_wait"]["sum_seconds"] >= 4 * 0.3


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_connections_that_wait_while_all_processes_are_busy_are_parked(serve, file, reset):
    server = serve("prefork", STATS=file, MAX_PENDING="100", TIMEOUT="1m")
    waiting = [connect(server.port) for _ in range(3)]
    for client in waiting:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", reset, 0))
    waiting[0].sendall(b"P")
    busy = [connect(server.port) for _ in range(4)]
    for client in busy:
        client.sendall(v1())
        assert client.recv(1000)
    eventually(lambda: parked(file) == 3, "all three are parked")
    waiting[1].sendall(b"P")
    waiting[2].sendall(v2(command=0))
    for client in waiting + busy:
        client.close()
    eventually(lambda: parked(file) == 0, "none is parked")
    eventually(lambda: counted(file) == {"proxied": 4, "rejected cut": 2, "local local": 1},
               "all are counted as what they sent")


def test_different_programs_share_a_file(serve, run, file):
    one = serve("prefork", STATS=file, LOG="none")
    other = run([sys.executable, "-B", HERE / "pyserver.py", "threading"],
                environment(STATS=file, LOG="none")).listening()
    crowd(one.port, 100, 30)
    crowd(other.port, 60, 20)
    assert counted(file) == {"proxied": 160, "rejected no_header": 50}
    assert counted(file, other.port) == {"proxied": 60, "rejected no_header": 20}


def test_processes_in_a_chroot_and_without_privileges_go_on_counting(run, file, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "empty").mkdir()
    server = run([sys.executable, "-B", HERE / "pyserver.py", "dropped", tmp_path / "empty"],
                 environment(STATS=file)).listening()
    # The file is made at the first listen or accept: here before the privileges are gone.
    crowd(server.port, 60, 0)
    assert counted(file) == {"proxied": 60}
    assert file.stat().st_uid == 0


@pytest.fixture
def in_rules(tmp_path, file):
    """The variables for counters that a rules file asks for, with these lines beside."""
    return lambda *lines: {"TRUST": None, "RULES": rules_in(tmp_path)("\n".join(["from all", f"stats {file}", *lines]))}


@pytest.mark.parametrize("by_file", [False, True], ids=["variable", "rules"])
def test_worker_that_drops_its_privileges_before_its_first_accept_counts(run, file, tmp_path, serve, in_rules, by_file):
    """As postfix's smtpd and dovecot's login processes do: the listener is made by another program."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (tmp_path / "empty").mkdir()
    serve("loop", STATS=file)  # makes the file
    script = f"""if True:
        import os, socket, sys
        listener = socket.socket(fileno=int(sys.argv[1]))
        os.chroot({str(tmp_path / "empty")!r})
        os.setuid(65534)
        print("listening", listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            connection.close()
    """
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        fd = inherited.fileno()
        variables = in_rules() if by_file else {"STATS": file}
        worker = run([sys.executable, "-c", script, fd], environment(**variables), [fd]).listening()
        with connect(worker.port) as client:
            exchange(client, v1())
    assert counted(file, worker.port) == {"proxied": 1}


@pytest.mark.parametrize("programs, counts", [("cat", True), ("vsftpd", False)])
def test_program_that_the_rules_file_leaves_out_has_no_counters(run, file, serve, in_rules, programs, counts):
    serve("loop", STATS=file)  # makes the file
    cat = run(["/bin/cat", "/proc/self/maps"], environment(**in_rules(f"programs {programs}")))
    assert (str(file) in cat.process.communicate(timeout=PATIENCE)[0].decode()) == counts


# ---- the file ----

def test_counters_outlive_the_server(serve, file):
    for i in range(1, 4):
        server = serve("loop", STATS=file)
        ask(server.port, v1())
        server.stop()
        assert counted(file) == {"proxied": i}


def test_counters_are_set_to_zero_on_demand_while_the_server_counts(serve, file):
    server = serve("loop", STATS=file)
    ask(server.port, v1())
    assert command("--reset", file).returncode == 0
    assert counted(file) == {}
    ask(server.port, v1())
    assert counted(file) == {"proxied": 1}


def test_file_that_cannot_be_made_is_a_warning_and_the_server_serves(serve, tmp_path):
    server = serve("loop", STATS=tmp_path / "no/such/folder")
    assert ask(server.port, v1(), b"payload").payload == b"payload"
    [line] = server.stderr.splitlines()
    assert "TRUEPEER_STATS" in line and "no/such/folder" in line


def test_foreign_file_is_left_alone_with_a_warning(serve, file):
    file.write_text("precious\n" * 20000)
    before = file.read_bytes(), file.stat().st_mtime_ns
    server = serve("loop", STATS=file)
    assert ask(server.port, v1(), b"payload").payload == b"payload"
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert str(file) in server.stderr and len(server.stderr.splitlines()) == 1


def test_nothing_is_made_where_nothing_is_trusted_nor_without_the_variable(serve, file, tmp_path):
    before = set(tmp_path.iterdir())
    for variables in {"STATS": file, "TRUST": None}, {}:
        server = serve("loop", **variables)
        ask(server.port, v1())
    made = {path.name for path in set(tmp_path.iterdir()) - before}
    assert all(name.startswith("stderr.") for name in made), made


def test_program_that_accepts_nothing_makes_no_file(run, file):
    assert run(["/bin/echo", "fine"], environment(STATS=file)).line() == "fine"
    assert not file.exists()


# ---- parked now ----

def test_parked_connections_are_shown_while_they_are(serve, file):
    server = serve("epoll", STATS=file, MAX_PENDING="16", TIMEOUT="1m")
    with connect(server.port), connect(server.port) as client:
        eventually(lambda: parked(file) == 2, "both are parked")
        exchange(client, v1())
        assert parked(file) == 1
    eventually(lambda: parked(file) == 0, "none is parked")
    assert counted(file) == {"proxied": 1, "rejected probe": 1}


def test_parked_connections_of_a_process_that_was_killed_are_past_at_their_deadline(serve, file):
    server = serve("epoll", STATS=file, MAX_PENDING="16", TIMEOUT="2s")
    with connect(server.port):
        eventually(lambda: parked(file) == 1, "it is parked")
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: parked(file) == 0, "it is forgotten")


def test_child_does_not_take_the_parked_of_its_parent_away(serve, file):
    server = serve("fork", STATS=file, MAX_PENDING="16", TIMEOUT="1m")
    with connect(server.port):
        eventually(lambda: parked(file) == 1, "it is parked")
        for _ in range(5):
            ask(server.port, v1())
        assert parked(file) == 1


def test_the_oldest_goes_when_there_are_too_many(serve, file):
    server = serve("epoll", STATS=file, MAX_PENDING="4", TIMEOUT="1m", LOG="none")
    clients = [connect(server.port) for _ in range(6)]
    eventually(lambda: counted(file) == {"rejected evicted": 2} and parked(file) == 4, "two are gone")
    for client in clients:
        client.close()


# ---- truepeer stats ----

@pytest.fixture
def example(serve, file):
    server = serve("loop", STATS=file)
    ask(server.port, v1())
    ask(server.port, v1())
    assert is_refused(server.port, b"x")
    return server


def test_text_is_for_people(example, file):
    lines = [line.split() for line in command(file).stdout.splitlines()]
    assert lines[:3] == [["LISTENER", "OUTCOME", "REASON", "CONNECTIONS"],
                         [f"127.0.0.1:{example.port}", "proxied", "2"], ["rejected", "no_header", "1"]]
    assert lines[-1][-1] == "0"


def promtool(text):
    return subprocess.run([find("promtool", "prometheus"), "check", "metrics"], input=text, capture_output=True,
                          text=True, timeout=PATIENCE)


def test_promtool_accepts_the_metrics(example, file):
    text = command("--prometheus", file).stdout
    checked = promtool(text)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert f'truepeer_connections_total{{listener="127.0.0.1:{example.port}",outcome="proxied"}} 2\n' in text
    assert 'outcome="rejected",reason="no_header"} 1\n' in text and 'reason="silent"} 0\n' in text
    assert "truepeer_parked_connections 0\n" in text


@pytest.mark.parametrize("good, bad", [("truepeer_connections_total", "truepeer_connections"),
                                       ('le="+Inf"', 'le="x"'), ("# HELP truepeer_parked", "# OTHER ")])
def test_promtool_would_tell(example, file, good, bad):
    text = command("--prometheus", file).stdout
    assert good in text and promtool(text.replace(good, bad)).returncode != 0


def test_counters_are_found_by_process(example, file):
    expected = command("--json", file).stdout
    assert command("--json", example.pid).stdout == expected
    if os.geteuid() == 0:
        file.unlink()
        assert command("--json", example.pid).stdout == expected


def test_counters_are_found_by_the_variable(example, file):
    assert command("--json", TRUEPEER_STATS=str(file)).stdout == command("--json", file).stdout


def test_watch_shows_them_again(example, file):
    watch = subprocess.Popen([COMMAND, "stats", "--json", "--watch=1", file], stdout=subprocess.PIPE, text=True)
    try:
        first = json.loads(watch.stdout.readline())
        ask(example.port, v1())
        second = json.loads(watch.stdout.readline())
    finally:
        watch.kill()
        watch.wait()
        watch.stdout.close()
    assert [each["listeners"][0]["connections"][0]["count"] for each in (first, second)] == [2, 3]


@pytest.mark.parametrize("words, status", [
    (["/no/such/file"], 1), (["/etc/passwd"], 1), (["/dev/null"], 1), (["/"], 1), (["1000000000"], 1),
    ([os.getpid()], 1), ([], 2), ([""], 2), (["a", "b"], 2), (["--json", "--prometheus", "a"], 2),
    (["--watch=0", "a"], 2), (["--watch=x", "a"], 2), (["--reset", "--json", "a"], 2), (["--what", "a"], 2)])
def test_wrong_use_is_told(words, status):
    done = command(*words)
    assert (done.returncode, done.stdout) == (status, "") and len(done.stderr.splitlines()) >= 1


def test_reset_leaves_foreign_files_alone(tmp_path):
    file = tmp_path / "foreign"
    file.write_bytes(b"x" * 200000)
    assert command("--reset", file).returncode == 1
    assert file.read_bytes() == b"x" * 200000


def test_output_that_cannot_be_written_is_told(example, file):
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, "stats", file], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE)
    assert done.returncode == 1 and done.stderr
