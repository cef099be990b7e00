# SPDX-License-Identifier: MIT
"""One long connection: iperf3 through HAProxy, which writes a header for the server that has the library."""

import json
import re
import statistics

import daemons
from harness import eventually, find, free_port
from rounds import Unfit, in_turn, output, ratio
from subjects import BALANCER, PROBE, Instances, Subject, Way

WAYS = {"without": Way("HAProxy", "plain", "none", front="haproxy", seen=BALANCER),
        "with": Way("HAProxy, truepeer", "truepeer", "none", front="haproxy", seen=PROBE)}


SECONDS = 1


def iperf3(place):
    port, log = free_port(), place.folder / "log"
    pid = place.start([find("iperf3", "iperf3"), "--server", "--bind", "127.0.0.1", "--port", port,
                       "--forceflush", "--logfile", log], port)
    return daemons.Target(port, pid, None, log=log)


def attempt(port):
    told = json.loads(output(["iperf3", "--client", "127.0.0.1", "--port", port, "--bind", PROBE,
                              "--time", SECONDS, "--json"]))
    if "busy" in told.get("error", ""):
        return None  # still with the one before
    if "error" in told:
        raise Unfit(f"iperf3: {told['error']}")
    return told["end"]["sum_received"]["bits_per_second"] / 8e9


def send(port):
    """Gigabytes per second."""
    return eventually(lambda: attempt(port), "iperf3's server is ready")


def verify(instances, way):
    instances.verify_libraries(way)
    send(instances.port(way))
    seen = re.findall(r"^Accepted connection from (\S+),", instances.target(way.server).log.read_text(), re.M)
    if set(seen) != {way.seen}:
        raise Unfit(f"{way.name}: iperf3 does not see {way.seen}, but {', '.join(seen)}")


def measure(own, effort, paper):
    with own.folder() as folder, Instances(Subject(iperf3, 1, "", "", 1.0), own, folder) as instances:
        for way in WAYS.values():
            verify(instances, way)
        found = in_turn({name: lambda way=way: send(instances.port(way)) for name, way in WAYS.items()},
                        effort.starts * effort.rounds)
    paper.table("one long connection, through HAProxy, GB/s", ("without", "with"),
                [tuple(f"{statistics.median(found[name]):.2f}" for name in WAYS)])
    paper.figure("one long connection: throughput", ratio(found["with"], found["without"]), goal=1.0,
                 noise=0.02)
