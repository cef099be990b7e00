# SPDX-License-Identifier: MIT
"""Hostile surroundings: programs that accept where nobody expects it, and other libraries beside ours."""

import glob
import re
import subprocess

import pytest

from harness import HERE, LIBRARY, PATIENCE, compiled, environment

CASES = re.findall(r'^\t\{"(\w+)", \w+\},', (HERE / "surroundings.c").read_text(), re.M)
rooms = pytest.mark.parametrize("rooms", ["0", "1024"])

# Another library that is preloaded: it stands in front of accept, too, and counts.
NEIGHBOUR = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <sys/socket.h>
static int calls;
int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	int (*real)(int, struct sockaddr *, socklen_t *) = dlsym(RTLD_NEXT, "accept");
	calls++;
	return real(fd, addr, len);
}
__attribute__((destructor)) static void tell(void) { printf("neighbour %d\n", calls); }
"""


@pytest.fixture(scope="module")
def neighbour(built):
    (built / "neighbour.c").write_text(NEIGHBOUR)
    return compiled("TEST_NEIGHBOUR", built / "neighbour.c", built, "-shared", "-fPIC")


def run(program, case, env):
    done = subprocess.run([program, case], env=env, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode == 77:
        pytest.skip("this user may not")
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


@rooms
@pytest.mark.parametrize("case", CASES)
def test_program_accepts(surroundings, case, rooms):
    run(surroundings, case, environment(MAX_PENDING=rooms))


@rooms
def test_all_that_can_be_set_bears_a_small_stack(surroundings, tmp_path, rooms):
    run(surroundings, "on_a_small_stack", environment(MAX_PENDING=rooms, LOG=f"file:{tmp_path}/log info",
                                                      STATS=tmp_path / "stats", HEADER="optional"))
    assert (tmp_path / "stats").exists() and "203.0.113.7" in (tmp_path / "log").read_text()


def test_program_would_see_the_balancer_without_the_library(surroundings):
    done = subprocess.run([surroundings, "plainly"], env=environment(plain=True), capture_output=True, text=True)
    assert done.returncode == 1 and "is_the_client" in done.stdout


@rooms
@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_another_library_is_preloaded(surroundings, neighbour, first, rooms):
    env = environment(MAX_PENDING=rooms)
    env["LD_PRELOAD"] = " ".join([str(neighbour), LIBRARY] if first else [LIBRARY, str(neighbour)])
    assert run(surroundings, "plainly", env) == "neighbour 1\n"


@rooms
@pytest.mark.parametrize("case", CASES)
def test_jemalloc_is_preloaded(surroundings, case, rooms):
    found = glob.glob("/usr/lib/*/libjemalloc.so.2")
    if not found:
        pytest.skip("jemalloc is not here (Debian package libjemalloc2)")
    run(surroundings, case, environment(MAX_PENDING=rooms, preload=found))


def test_library_is_opened_late_and_does_no_harm(surroundings, built):
    """Nobody's calls come to it then: the program is as without it."""
    (built / "late.c").write_text(r"""
#include <dlfcn.h>
#include <stdio.h>
__attribute__((constructor)) static void late(void)
{
	void *library = dlopen(LATE, RTLD_NOW);
	if (!library || dlclose(library))
		printf("%s\n", dlerror());
}
""")
    late = compiled("TEST_LATE", built / "late.c", built, "-shared", "-fPIC", f'-DLATE="{LIBRARY.split()[-1]}"')
    env = environment()
    env["LD_PRELOAD"] = str(late)
    done = subprocess.run([surroundings, "plainly"], env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and done.stdout.count("\n") == 1 and "is_the_client" in done.stdout
