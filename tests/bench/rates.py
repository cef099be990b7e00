# SPDX-License-Identifier: MIT
"""Connections per second, and the server's processor time for each."""

import os
import statistics
from pathlib import Path
from typing import NamedTuple

import crowd
from rounds import Unfit, in_turn, output, ratio
from subjects import CLIENT, PROBE, Instances, ways

TICKS = os.sysconf("SC_CLK_TCK")


class Sample(NamedTuple):
    count: int  # connections
    seconds: float
    cpu: float  # of the server, its children and theirs

    @property
    def rate(self):
        return self.count / self.seconds


def of_the_dead(pid):
    """Processor time of the children that a process has waited for."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(words[13]) + int(words[14])) / TICKS


def cpu_seconds(pid):
    return sum(crowd.cpu_seconds(pid).values()) + sum(map(of_the_dead, crowd.family(pid)))


def visit(own, port, pid, header, subject, seconds, seen=CLIENT):
    """Keeps a server busy for so long."""
    wanted = subject.reply.format("127.0.0.1" if seen == PROBE else seen)
    before = cpu_seconds(pid)
    count, took = output([own.client, "churn", port, subject.window, seconds, header,
                          subject.request, wanted]).split()
    return Sample(int(count), float(took), cpu_seconds(pid) - before)


def fit(instances, way):
    """Whether it can be measured; for truepeer, and for what it is compared with, anything else ends all."""
    try:
        instances.verify(way)
    except (AssertionError, OSError, Unfit) as error:
        if not way.rival:
            raise
        print(f"\n{way.name} cannot do this: {' '.join(str(error).split()) or 'it ends'}")
        return False
    return True


def measure(subject, own, effort):
    """The samples of each way: of servers that are started anew now and then, since where in memory one
    happens to lie has its part, too."""
    samples = {way: [] for way in ways(subject)}
    for _ in range(effort.starts):
        with own.folder() as folder, Instances(subject, own, folder) as instances:
            def sample(way):
                return visit(own, instances.port(way), instances.target(way.server).pid, way.header, subject,
                             effort.seconds, way.seen)
            samples = {way: some for way, some in samples.items() if fit(instances, way)}
            for way, some in in_turn({way: lambda way=way: sample(way) for way in samples}, effort.rounds).items():
                samples[way] += some
    return samples


def rates(samples):
    return [sample.rate for sample in samples]


def report(name, subject, samples, paper):
    found = {way.name: rates(some) for way, some in samples.items()}
    rows = []
    for way, some in samples.items():
        base = f"{ratio(found[way.name], found[way.base]):.3f}" if way.base else ""
        cpu = sum(sample.cpu for sample in some) / sum(sample.count for sample in some)
        rows.append((way.name, f"{statistics.median(found[way.name]):.0f}", base, way.base and f"to {way.base}",
                     f"{cpu * 1e6:.1f}"))
        paper.bar(name, way.name, ratio(found[way.name], found["no header"]))
    paper.table(f"{name}: connections/s", ("", "median", "ratio", "", "server, µs each"), rows)
    paper.twice.append(ratio(found["the same again"], found["no header"]))
    mine = [way for way in samples if way.server == "truepeer" and not way.front]
    paper.figure(f"{name}: rate, v1, v2", *(ratio(found[way.name], found[way.base]) for way in mine),
                 goal=subject.goal)
    bare = [way for way in samples if way.server == "bare"]
    paper.figure(f"{name}: three bare calls", *(ratio(found[way.name], found[way.base]) for way in bare))
    if subject.native:
        paper.figure(f"{name}: to its own support",
                     *(ratio(found[way.name], found[f"native {way.header}"]) for way in mine), goal=1.0)
