# SPDX-License-Identifier: MIT
"""Many clients at once, kept in a thread of their own: silent ones, and such that drip bytes."""

import contextlib
import heapq
import os
import itertools
import re
import select
import socket
import struct
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import harness


def queued(port):
    """How many connections the kernel keeps for accept."""
    wanted = re.compile(rf" [0-9A-F]+:{port:04X} 0+:0000 0A [0-9A-F]+:([0-9A-F]+) ")
    return sum(int(found, 16) for found in wanted.findall(Path("/proc/net/tcp").read_text()))


class Member:
    """One connection: what it sends, what came back, and how and when it ended."""

    def __init__(self, address, pieces=(), gap=0, until=rb"\n", leave=False):
        self.began, self.ended = time.monotonic(), None  # not after the server has begun to count
        self.socket = socket.create_connection(address, 1)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.fd = self.socket.fileno()
        self.pieces, self.gap, self.leave = list(pieces), gap, leave
        self.until = re.compile(until, re.S)
        self.reply = b""
        self.outcome = None  # "answered", "closed", "reset", or "left" by itself

    @property
    def lasted(self):
        return self.ended - self.began

    def receive(self):
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            return "reset"
        self.reply += data
        if self.until.search(self.reply):
            return "answered"
        return None if data else "closed"

    def send(self):
        """The next piece. A kernel that takes none has been told of the end: receive will be, too,
        but for a reset, which it tells only once."""
        try:
            self.socket.send(self.pieces.pop(0))
        except ConnectionResetError:
            return "reset"
        except OSError:
            pass
        return None


class Crowd:
    """with Crowd(port) as crowd: crowd.silent(200); crowd.drip(headers, 0.1); crowd.wait(...)"""

    def __init__(self, port, host="127.0.0.1"):
        self.address = host, port
        self.present, self.due, self.order = {}, [], itertools.count()
        self.poll, self.lock, self.stopping = select.epoll(), threading.RLock(), False
        self.joined, self.stuck = 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stopping = True
        self.thread.join(harness.PATIENCE)
        for member in self.present.values():
            member.socket.close()
        self.poll.close()

    def pace(self):
        """Waits a moment for the server: some have a short backlog."""
        self.joined += 1
        deadline = time.monotonic() + 0.2
        while self.joined % 8 == 0 and queued(self.address[1]) and time.monotonic() < deadline:
            select.select([], [], [], 0.001)

    def join(self, *pieces, gap=0, **options):
        """A new member; one without a connection if the server is stuck and its backlog full."""
        member = None
        if not self.stuck:
            with contextlib.suppress(TimeoutError):
                member = Member(self.address, pieces, gap, **options)
        if not member:
            self.stuck = True
            return SimpleNamespace(outcome="not connected", reply=b"", lasted=0)
        self.pace()
        with self.lock:
            self.present[member.fd] = member
            self.poll.register(member.fd, select.EPOLLIN | select.EPOLLRDHUP)
            if pieces:
                heapq.heappush(self.due, (member.began, next(self.order), member))
        return member

    def silent(self, count):
        return [self.join() for _ in range(count)]

    def drip(self, headers, gap, tail=b"", until=rb"\n"):
        """Each header byte by byte; the tail (the client's first words) with the last one."""
        return [self.join(*(bytes([byte]) for byte in header[:-1]), header[-1:] + tail, gap=gap, until=until)
                for header in headers]

    def end(self, member, outcome):
        member.outcome, member.ended = outcome, time.monotonic()
        if outcome == "left":
            member.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with self.lock:
            del self.present[member.fd]
            self.poll.unregister(member.fd)
            member.socket.close()

    def speak(self, member, when):
        if member.outcome:
            return
        if not member.pieces:
            return self.end(member, "left")
        if outcome := member.send():
            return self.end(member, outcome)
        if member.pieces or member.leave:
            with self.lock:
                heapq.heappush(self.due, (when + member.gap, next(self.order), member))

    def run(self):
        while not self.stopping:
            with self.lock:
                timeout = max(0, min(0.02, self.due[0][0] - time.monotonic())) if self.due else 0.02
            for fd, _ in self.poll.poll(timeout):
                with self.lock:
                    member = self.present.get(fd)
                if member and (outcome := member.receive()):
                    self.end(member, outcome)
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                with self.lock:
                    when, _, member = heapq.heappop(self.due)
                self.speak(member, when)

    def wait(self, members, limit=harness.PATIENCE):
        """Waits until all have ended, or for so long; returns those that have not."""
        deadline = time.monotonic() + limit
        while (left := [m for m in members if not m.outcome]) and time.monotonic() < deadline:
            select.select([], [], [], 0.01)
        return left


# ---- what a server's processes use ----

def family(pid):
    """The process and all its descendants."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text()
            children.setdefault(int(text[text.rindex(")") + 4:].split()[0]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def unix_sockets():
    rows = [line.split() for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()]
    return {f"socket:[{row[6]}]" for row in rows if len(row) > 6}


def opened(pid, only_network):
    """What a process has open; only_network: what it may have to do with a client over the network."""
    links = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(fd))
    if not only_network:
        return links
    unix = unix_sockets()
    return [link for link in links if link.startswith(("socket:", "anon_inode:[timerfd]")) and link not in unix]


def descriptors(pid, only_network=False):
    """How many descriptors each process of the family has open."""
    counts = {}
    for one in family(pid):
        with contextlib.suppress(OSError):
            counts[one] = len(opened(one, only_network))
    return counts


def leaked(pid, before, only_network=False):
    """Descriptors that processes have over what they had, but for processes that are new."""
    return {one: (before[one], n) for one, n in descriptors(pid, only_network).items() if n > before.get(one, n)}


def cpu_seconds(pid):
    """User and system time of each of the family's threads."""
    seconds = {}
    for one in family(pid):
        for stat in Path(f"/proc/{one}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                seconds[stat] = int(stat.read_text().split()[0]) / 1e9
    return seconds


def cpu_share(pid, seconds):
    """How much of a processor the family uses, watched for so long."""
    before, began = cpu_seconds(pid), time.monotonic()
    select.select([], [], [], seconds)
    after, ended = cpu_seconds(pid), time.monotonic()
    return sum(after[thread] - before.get(thread, 0) for thread in after) / (ended - began)
