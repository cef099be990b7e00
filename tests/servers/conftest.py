# SPDX-License-Identifier: MIT
"""A network of our own before the first test; a table of the results behind the last."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

collect_ignore = ["roots"]  # other systems, not tests
MARKS = {"passed": ".", "skipped": "-", "failed": "F"}


@pytest.fixture(scope="session", autouse=True)
def network():
    import catalogue
    import place
    for tool in "ip", "haproxy", "unshare", "mount":
        if not shutil.which(tool, path=place.PATH):
            pytest.skip(f"{tool} is not here")
    if os.environ.get("ROOTS"):
        for daemon in catalogue.DAEMONS.values():  # while there is a network to get packages from
            daemon.layers()
    try:
        place.enter_network()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no namespaces here ({error}): these tests need root")


def results(reporter):
    """{daemon: {mode: mark}}"""
    table = {}
    for outcome in ("passed", "skipped", "failed", "error"):
        for report in reporter.stats.get(outcome, []):
            if "test_names_the_client[" in report.nodeid and getattr(report, "when", "") in ("call", "setup"):
                cell = report.nodeid.split("[")[1][:-1]
                daemon, where, mode = cell.replace("-four-", "|four|").replace("-six-", "|six|").split("|")
                table.setdefault(daemon, {})[where, mode] = MARKS.get(outcome, "F")
    return table


def pytest_terminal_summary(terminalreporter):
    """A line a daemon; the modes are numbered, and named below."""
    from modes import MODES
    table = results(terminalreporter)
    if not table:
        return
    modes = [("six" if mode.six else "four", mode.name) for mode in MODES]
    width = max(map(len, table), default=0)
    write = terminalreporter.write_line
    write("")
    write(" " * width + "".join(f"{number:3}" for number in range(1, len(modes) + 1)))
    for daemon, row in table.items():
        write(f"{daemon:{width}}" + "".join(f"  {row.get(mode, ' ')}" for mode in modes))
    write("")
    for number, mode in enumerate(MODES, 1):
        write(f"{number:3} {mode.name} on {'[::]' if mode.six else '0.0.0.0'}")
    write(". passed   F failed   - does not apply, or not run (see the reasons above)")
