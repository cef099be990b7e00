# SPDX-License-Identifier: MIT
"""How cost grows with the connections that are open, and with those that are parked; and memory."""

import contextlib
import re
import resource
import statistics
from pathlib import Path

from harness import environment, eventually
from rates import rates, visit
from rounds import Unfit, in_turn, ratio
from subjects import PROBE, SUBJECTS, Instances, Way

EPOLL = SUBJECTS["epoll-loop"]
WITHOUT, WITH = Way("v2 as payload", "plain", "v2", seen=PROBE), Way("truepeer v2", "truepeer", "v2")
PARKED = [0, 1, 10, 100, 1000]
SPARE = 1000  # descriptors of a process that are no such connections


class Host:
    """An epoll loop, and the clients that stay with it: they say payload behind their header."""

    def __init__(self, stack, own, way, **variables):
        self.own, self.way = own, way
        folder = stack.enter_context(own.folder())
        self.instances = stack.enter_context(Instances(EPOLL, own, folder, **variables))
        self.instances.verify(way)
        self.target = self.instances.target(way.server)
        self.visit(0.05)
        self.before = self.resident()

    def resident(self):
        """Bytes of memory."""
        rollup = Path(f"/proc/{self.target.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Rss:\s*(\d+) kB", rollup, re.M)[1]) * 1024

    def visit(self, seconds):
        return visit(self.own, self.target.port, self.target.pid, self.way.header, EPOLL, seconds, self.way.seen)

    def hold(self, count, header, payload):
        descriptors = Path(f"/proc/{self.target.pid}/fd")
        run = self.instances.run("clients")[1]
        wanted = len(list(descriptors.iterdir())) + count
        client = run([self.own.client, "hold", self.target.port, count, header, payload], environment(plain=True))
        if client.line() != "held":
            raise Unfit(f"{count} connections: {client.stderr}")
        eventually(lambda: len(list(descriptors.iterdir())) >= wanted, f"the server has {count} connections")


def hosts(stack, own, way, count):
    """Those that have so many connections open: several, if a process may not have as many."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE
    processes = -(-count // most)
    found = [Host(stack, own, way) for _ in range(processes)]
    for i, host in enumerate(found):
        host.hold(count // processes + (i < count % processes), way.header, "+")
    return found


def cpu(samples):
    """Microseconds of the server for each connection."""
    return sum(sample.cpu for sample in samples) / sum(sample.count for sample in samples) * 1e6


def measure_open(own, effort, paper):
    sizes = [1, effort.many // 50, effort.many // 5, effort.many]
    with contextlib.ExitStack() as stack:
        crowds = {(way, size): hosts(stack, own, way, size) for size in sizes for way in (WITHOUT, WITH)}
        memory = {key: sum(host.resident() - host.before for host in crowd) for key, crowd in crowds.items()}
        found = in_turn({key: lambda crowd=crowd: crowd[0].visit(effort.seconds) for key, crowd in crowds.items()},
                        effort.starts * effort.rounds)
        processes = len(crowds[WITH, effort.many])
    fractions = {size: ratio(rates(found[WITH, size]), rates(found[WITHOUT, size])) for size in sizes}
    paper.table(f"connections open in an epoll loop ({effort.many:,} of them in {processes} processes)",
                ("", *(f"{size:,}" for size in sizes)),
                [("rate to that without", *(f"{fractions[size]:.3f}" for size in sizes)),
                 *((f"server {word}, µs each", *(f"{cpu(found[way, size]):.1f}" for size in sizes))
                   for word, way in (("without", WITHOUT), ("with", WITH))),
                 *((f"memory {word}, bytes each", *(f"{memory[way, size] / size:.2f}" for size in sizes))
                   for word, way in (("without", WITHOUT), ("with", WITH)))])
    for size in sizes:
        paper.point("open connections", size, cpu(found[WITH, size]))
    paper.figure(f"{effort.many:,} open instead of one: rate",
                 fractions[effort.many] / fractions[1], goal=0.98)
    paper.figure("each of them: resident memory added",
                 (memory[WITH, effort.many] - memory[WITHOUT, effort.many]) / effort.many,
                 goal=1, unit="bytes", at_most=True)


def measure_parked(own, effort, paper):
    with contextlib.ExitStack() as stack:
        crowd = {size: Host(stack, own, WITH, TIMEOUT="60m") for size in PARKED}
        for size in PARKED[1:]:
            crowd[size].hold(size, "half", "")
        found = in_turn({size: lambda host=host: host.visit(effort.seconds) for size, host in crowd.items()},
                        effort.starts * effort.rounds)
    paper.table("connections parked in an epoll loop", ("", *map(str, PARKED)),
                [("connections/s", *(f"{statistics.median(rates(found[size])):.0f}" for size in PARKED)),
                 ("server, µs each", *(f"{cpu(found[size]):.1f}" for size in PARKED))])
    for size in PARKED:
        paper.point("parked connections", size, cpu(found[size]))
    paper.figure("1,000 parked instead of one: rate", ratio(rates(found[1000]), rates(found[1])), goal=0.98)
