# SPDX-License-Identifier: MIT
"""The library as a file: what it exports, what it needs; and its headers, each alone."""
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
LIBRARY = os.environ["LIBTRUEPEER"]
pytestmark = pytest.mark.skipif(bool(os.environ.get("SANITIZER_FLAGS")),
                                reason="with a sanitizer in it the library is another file")
EXPORTS = """__poll_chk __ppoll_chk accept accept4 close epoll_ctl epoll_pwait epoll_pwait2 epoll_wait
execl execle execlp execv execve execvp execvpe fexecve
getpeername getsockname listen poll posix_spawn posix_spawnp ppoll pselect select truepeer_get truepeer_version""".split()
HEADERS = sorted((TOP / "src").glob("*.h"))


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(platform.machine() != "x86_64", reason="32-bit libraries have twins with 64-bit time")
def test_only_the_interposed_functions_and_truepeer_get_are_exported():
    lines = output("nm", "-D", "--defined-only", LIBRARY).splitlines()
    assert sorted(line.split()[-1] for line in lines) == EXPORTS


def test_nothing_beyond_libc_is_needed():
    needed = [line for line in output("readelf", "-dW", LIBRARY).splitlines() if "(NEEDED)" in line]
    assert len(needed) == 1 and "libc" in needed[0]


def test_relocations_are_read_only_and_the_stack_holds_no_code():
    assert "BIND_NOW" in output("readelf", "-dW", LIBRARY)
    segments = output("readelf", "-lW", LIBRARY).splitlines()
    assert all(any(part in line for line in segments) for part in ("GNU_RELRO", "GNU_STACK"))
    assert all("RWE" not in line for line in segments)


def test_two_builds_in_two_places_are_the_same_bytes(tmp_path):
    """But for the debugging information, which names the place."""
    built = []
    for place in "here", "elsewhere":
        folder = tmp_path / place
        shutil.copytree(TOP / "src", folder, ignore=shutil.ignore_patterns(".*", "*.lo", "*.o", "portable.c"))
        subprocess.run([*os.environ.get("CC", "cc").split(), "-std=gnu11", "-D_GNU_SOURCE", '-DPACKAGE_VERSION="0"',
                        "-O1", "-s", "-fPIC", "-shared", "-o", folder / "library", *sorted(folder.glob("*.c"))],
                       check=True)
        built.append((folder / "library").read_bytes())
    assert built[0] == built[1]


@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_header_compiles_alone(header):
    subprocess.run([*os.environ.get("CC", "cc").split(), "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                    "-Werror", "-fsyntax-only", "-x", "c", "-include", header, "/dev/null"], check=True)


def test_public_header_is_fit_for_cpp():
    cxx = shutil.which("g++") or shutil.which("clang++") or pytest.skip("no C++ compiler here")
    subprocess.run([cxx, "-std=c++11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++",
                    "-include", TOP / "src/truepeer.h", "/dev/null"], check=True)


def test_public_header_needs_no_extensions():
    subprocess.run([*os.environ.get("CC", "cc").split(), "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror",
                    "-fsyntax-only", "-x", "c", "-include", TOP / "src/truepeer.h", "/dev/null"], check=True)


def test_pkg_config_finds_header_and_library():
    build = Path(LIBRARY).parents[1]
    env = {**os.environ, "PKG_CONFIG_PATH": str(build)}
    told = [subprocess.run(["pkg-config", word, "truepeer"], check=True, capture_output=True, text=True, env=env).stdout
            for word in ("--cflags", "--libs", "--variable=preload")]
    assert told[0].startswith("-I/") and told[1].strip() == "" and told[2].endswith("/truepeer/libtruepeer.so\n")
