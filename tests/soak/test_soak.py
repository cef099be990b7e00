# SPDX-License-Identifier: MIT
"""The short form of soak: some thousands of clients of all kinds, at a server of events and at one that forks."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import harness  # noqa: E402  (found by the path above)

pytestmark = harness.foreign

CONNECTIONS = {"nginx": 15000, "socat": 1200}
AT_ONCE = {"nginx": 200, "socat": 50}  # fewer, for a busy machine


@pytest.fixture(scope="module", autouse=True)
def able():
    for program, package in ("nginx", "nginx"), ("socat", "socat"), ("ip", "iproute2"), ("unshare", "util-linux"):
        harness.find(program, package)
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("a network of its own needs root")
    if not Path("/proc/sys/net/ipv6").exists():
        pytest.skip("no IPv6 here")


def soak(server, *words):
    return subprocess.run([sys.executable, HERE / "soak", server, *map(str, words)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def runs(able):
    """Both at once: in the end they wait for those who say nothing."""
    with ThreadPoolExecutor() as pool:
        yield {server: pool.submit(soak, server, "--connections", CONNECTIONS[server], "--at-once", AT_ONCE[server])
               for server in CONNECTIONS}


@pytest.mark.parametrize("server", CONNECTIONS)
def test_each_gets_what_is_due_and_nothing_is_left(runs, server, capsys):
    done = runs[server].result()
    with capsys.disabled():
        print(f"\n{done.stdout}{done.stderr}")
    assert done.returncode == 0


@pytest.mark.parametrize("server", CONNECTIONS)
def test_server_without_the_library_fails_at_once(server):
    done = soak(server, "--connections", 1000, "--plain")
    assert done.returncode == 1 and "WRONG clients: good\n" in done.stdout, done.stdout + done.stderr
    assert "wrong address" in done.stderr
