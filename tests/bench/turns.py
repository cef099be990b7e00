# SPDX-License-Identifier: MIT
"""Clients and servers that take turns: nothing is run in between, and what is woken waits until what runs has
nothing left to do. So a busy server meets its clients' headers.

We ourselves do not, but for moments: somebody who looks at a process in /proc on the same core would never be
done with it, and the kernel waits for him when that process is waited for."""

import contextlib
import os
import subprocess

policy = os.SCHED_FIFO  # of the programs that are started


def schedule(kind):
    os.sched_setscheduler(0, kind, os.sched_param(int(kind != os.SCHED_OTHER)))


@contextlib.contextmanager
def own_turn():
    schedule(policy)
    try:
        yield
    finally:
        schedule(os.SCHED_OTHER)


class Program(subprocess.Popen):
    def __init__(self, *words, **options):
        with own_turn():
            super().__init__(*words, **options)


def take_turns(on):
    """Whether programs that are started from now on do."""
    global policy
    policy = os.SCHED_FIFO if on else os.SCHED_OTHER
    subprocess.Popen = Program
