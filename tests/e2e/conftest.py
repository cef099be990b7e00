# SPDX-License-Identifier: MIT
"""Fixtures: built programs, and servers that end with their test."""

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

import harness


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return tmp_path_factory.mktemp("built")


@pytest.fixture(scope="session")
def server_path(built):
    return harness.compiled("TEST_SERVER", "server.c", built)


@pytest.fixture(scope="session")
def manners_path(built):
    return harness.compiled("TEST_MANNERS", "manners.c", built)


@pytest.fixture(scope="session")
def waiting_path(built):
    return harness.compiled("TEST_WAITING", "waiting.c", built)


@pytest.fixture(scope="session")
def fortified_path(built):
    (built / "fortified").mkdir()
    return harness.compiled("TEST_FORTIFIED", "waiting.c", built / "fortified", "-O2", "-D_FORTIFY_SOURCE=2")


@pytest.fixture(scope="session")
def surroundings(built):
    return harness.compiled("TEST_SURROUNDINGS", "surroundings.c", built)


@pytest.fixture(scope="session")
def noslot(built):
    return harness.compiled("NOSLOT", "noslot.c", built, "-shared", "-fPIC")


@contextlib.contextmanager
def programs(folder):
    with contextlib.ExitStack() as stack:
        def start(argv, env, fds=(), folder=folder):
            program = harness.Program(argv, env, folder, fds)
            stack.callback(program.stop)
            return program
        yield start


def server_starter(run, path):
    def start(mode, *options, fds=(), **variables):
        return run([path, *options, mode], harness.environment(**variables), fds).listening()
    return start


@pytest.fixture
def run(tmp_path):
    """run(argv, env, fds=()): starts a program that ends with the test."""
    with programs(tmp_path) as start:
        yield start


@pytest.fixture
def serve(run, server_path):
    """serve(mode, *options, TIMEOUT="1s", plain=False): the test server, listening."""
    return server_starter(run, server_path)


@pytest.fixture(scope="module")
def serve_long(tmp_path_factory, server_path):
    """The same for a server that all tests of a file share."""
    with programs(tmp_path_factory.mktemp("server")) as start:
        yield server_starter(start, server_path)


@pytest.fixture
def open_folder():
    """Unlike tmp_path, open to the unprivileged users of a server's processes."""
    folder = Path(tempfile.mkdtemp(prefix="truepeer."))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def spawner(run):
    """spawner(env, command): a super-server in Python; what it starts is told TRUEPEER_INHERITED=0."""
    with contextlib.ExitStack() as stack:
        def start(env, command):
            made = stack.enter_context(harness.listener())
            script = [sys.executable, "-B", harness.HERE / "names.py", "spawn", made.fileno()]
            return run([*script, *command], env, fds=[made.fileno()]).listening()
        yield start
