# SPDX-License-Identifier: MIT
"""What single calls cost, and the start of a program."""

import json
import re
import statistics

import harness
from rounds import Unfit, in_turn, output

NOBODY = "192.0.2.1"  # trusted, but not here
CALLS = {"getpeername": "getpeername of a TCP connection", "poll": "poll of a pipe", "epoll_ctl": "epoll_ctl on a pipe",
         "fork": "fork, and the child's end", "accept-unix": "accept from an AF_UNIX listener", "accept-tcp": "accept from an untrusted source"}
SIZES = [1, 10, 100, 1000, 10000]
COUNT, COUNTED, FORKS = 6400, 640, 640  # calls in a run: against the clock, under valgrind, if each is a fork
VALGRIND = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=one_call"]


def environment(library, **variables):
    return harness.environment(not library, **{"TRUST": NOBODY, **variables})


def check(path, library):
    """Where a program has its accept from."""
    if (path == str(harness.LIBRARY)) != library:
        raise Unfit(f"accept is that of {path}")


def nanoseconds(own, call, env):
    path, figure = output([own.calls, call, FORKS if call == "fork" else COUNT], env=env).split()
    check(path, "LD_PRELOAD" in env)
    return float(figure)


def instructions(own, call, env):
    """In user space, of which callgrind knows; counted, so that once is enough."""
    told = output(["sh", "-c", '"$@" 2>&1', "sh", *VALGRIND, own.calls, call, COUNTED], env=env)
    check(re.search(r"^/.*\.so\S*$", told, re.M)[0], "LD_PRELOAD" in env)
    return int(re.search(r"Collected : (\d+)", told)[1]) / COUNTED


def measure(own, effort, paper):
    harness.find("valgrind", "valgrind")
    rows = []
    for call, title in CALLS.items():
        environments = {"without": environment(False), "with": environment(True)}
        times = in_turn({way: lambda env=env: nanoseconds(own, call, env) for way, env in environments.items()},
                        effort.starts * effort.rounds)
        without, with_it = (statistics.median(times[way]) for way in environments)
        counts = ["", ""] if call == "fork" else [f"{instructions(own, call, env):.0f}" for env in environments.values()]
        rows.append((title, f"{without:.0f}", f"{with_it:.0f}", *counts))
        paper.figure(title, with_it - without, unit="ns")
    paper.table("calls that the library has no business with", ("", "without, ns", "with", "instructions", "with"), rows)


def start_time(env):
    """Microseconds that /bin/true takes from its fork to its end."""
    told = output(["hyperfine", "-N", "--warmup", 20, "--runs", 200, "--export-json", "/dev/stdout",
                   "--style", "none", "/bin/true"], env=env)
    return json.loads(told[told.index("{"):])["results"][0]["median"] * 1e6


def measure_start(own, effort, paper):
    harness.find("hyperfine", "hyperfine")
    nanoseconds(own, "poll", environment(True))  # programs start with the library
    times = in_turn({"without": lambda: start_time(environment(False)), "with": lambda: start_time(environment(True))},
                    effort.starts * effort.rounds)
    without, with_it = (statistics.median(times[way]) for way in ("without", "with"))
    paper.table("start and end of /bin/true, µs", ("without", "with"), [(f"{without:.0f}", f"{with_it:.0f}")])
    paper.figure("start-up of /bin/true", with_it - without, goal=150, unit="µs", at_most=True)


def others(count):
    """Addresses that nobody here has, spread over all there are."""
    return [f"{1 + i % 99}.{i // 99 % 256}.{i * 7 % 256}.{i % 251}" for i in range(count)]


def measure_rules(own, effort, paper):
    """Of connections whose header is read. They come from the last of all the sources."""
    with own.folder() as folder:
        rules = {}
        for size in SIZES:
            listed = [*others(size - 1), "127.0.0.0/8"]
            rules["prefixes", size] = "from " + " ".join(listed) + "\n"
            rules["rules", size] = "".join(f"from {source}\n" for source in listed)
        for (kind, size), text in rules.items():
            (folder / f"{kind}.{size}").write_text(text)
        ways = {key: lambda key=key: nanoseconds(own, "accept-header", environment(
            True, TRUST=None, RULES=folder / f"{key[0]}.{key[1]}")) for key in rules}
        times = in_turn(ways, effort.starts * effort.rounds)
    medians = {key: statistics.median(values) for key, values in times.items()}
    paper.table("accept with a header, ns, by the length of the list", ("", *map(str, SIZES)),
                [(kind, *(f"{medians[kind, size]:.0f}" for size in SIZES)) for kind in ("prefixes", "rules")])
    for kind, size in medians:
        paper.point(f"{kind} (accept alone)", size, medians[kind, size] / 1000)
    for kind in "prefixes", "rules":
        paper.figure(f"10,000 {kind} instead of one", medians[kind, 10000] - medians[kind, 1],
                     goal=100, unit="ns", at_most=True)
