# SPDX-License-Identifier: MIT
"""Connections per second, and the server's processor time for each."""

import os
import statistics
from pathlib import Path
from typing import NamedTuple

import crowd
from rounds import in_turn, output, ratio
from subjects import BALANCER, CLIENT, PROBE, Instances, ways

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


def measure(subject, own, effort):
    """The samples of each way, by its name: of servers that are started anew now and then, since where
    in memory one happens to lie has its part, too."""
    samples = {way.name: [] for way in ways(subject)}
    for _ in range(effort.starts):
        with own.folder() as folder, Instances(subject, own, folder) as instances:
            def sample(way):
                return visit(own, instances.port(way), instances.target(way.server).pid, way.header, subject,
                             effort.seconds, way.seen)
            for way in ways(subject):
                instances.verify(way)
                sample(way)
            found = in_turn({way.name: lambda way=way: sample(way) for way in ways(subject)}, effort.rounds)
            for name, some in found.items():
                samples[name] += some
    return samples


def rates(samples):
    return [sample.rate for sample in samples]


def report(name, subject, samples, paper):
    rows = []
    for way in ways(subject):
        mine = samples[way.name]
        base = ratio(rates(mine), rates(samples[way.base])) if way.base else None
        cpu = sum(sample.cpu for sample in mine) / sum(sample.count for sample in mine)
        rows.append((way.name, f"{statistics.median(rates(mine)):.0f}", f"{base:.3f}" if way.base else "",
                     f"to {way.base}" if way.base else "", f"{cpu * 1e6:.1f}"))
        paper.bar(name, way.name, ratio(rates(mine), rates(samples["no header"])))
    paper.table(f"{name}: connections/s", ("", "median", "ratio", "", "server, µs each"), rows)
    for v in "v1", "v2":
        mine = rates(samples[f"truepeer {v}"])
        base = next(way.base for way in ways(subject) if way.name == f"truepeer {v}")
        paper.figure(f"{name}, {v}: rate to that of {base}", ratio(mine, rates(samples[base])), subject.goal)
        if subject.native:
            paper.figure(f"{name}, {v}: rate to that of its own support", ratio(mine, rates(samples[f"native {v}"])), 1.0)
