# SPDX-License-Identifier: MIT
"""The portable library as a file (configure --enable-portable): nothing that only one libc has."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src"
pytestmark = pytest.mark.skipif(bool(os.environ.get("SANITIZER_FLAGS")) or platform.architecture()[0] != "64bit",
                                reason="libcs agree on their structures on 64-bit systems only, without a sanitizer")

# glibc has had all of these in libc.so.6 since 2.17, and musl has them. A new one is to be
# looked up in both before it comes here.
IN_BOTH = set("""__errno_location __stack_chk_fail abort bind clock_gettime connect environ epoll_create1
fchmod fcntl getauxval getenv geteuid getpid getrlimit getsockname getsockopt link madvise memchr memcmp
memcpy memmove memrchr memset mkostemp mmap munmap open openat posix_fallocate pread
program_invocation_short_name pthread_setcancelstate pwrite read readlink readlinkat recv recvmsg rename
sendmsg setsockopt shutdown sigaction sigaddset sigemptyset signalfd sigismember sigorset sigprocmask socket socketpair
strchr strcspn strlen strncat strncmp strnlen strrchr strstr strtol syscall timerfd_create timerfd_gettime
timerfd_settime unlink unsetenv writev""".split())
# These may be missing: src/portable.c sees to that, and the compiler's start files.
WEAK = set("""__libc_dlopen_mode __libc_dlsym __register_atfork _pthread_cleanup_pop _pthread_cleanup_push
dlsym pthread_atfork _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable __cxa_finalize __gmon_start__
""".split())


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The one that make has built, if it is portable, or one made here."""
    made = os.environ["LIBTRUEPEER"]
    if "(NEEDED)" in output("readelf", "-dW", made):
        made = tmp_path_factory.mktemp("built") / "library"
        output(*os.environ.get("CC", "cc").split(), "-std=gnu11", "-D_GNU_SOURCE", '-DPACKAGE_VERSION="0"', "-O2",
               "-U_FORTIFY_SOURCE", "-fstack-protector-strong", "-fPIC", "-fvisibility=hidden", "-shared", "-nodefaultlibs",
               "-include", SOURCES / "portable.h", "-o", made, *sorted(SOURCES.glob("*.c")))
    return made


def undefined(library, kind):
    lines = output("nm", "-D", "--undefined-only", library).splitlines()
    return {name for found, name in map(str.split, lines) if found.lower() == kind}


def test_only_what_both_libcs_have_is_used(library):
    assert undefined(library, "u") - IN_BOTH == set()


def test_what_may_be_missing_is_weak(library):
    assert undefined(library, "w") - WEAK == set()


def test_no_library_and_no_version_is_asked_for(library):
    assert "(NEEDED)" not in output("readelf", "-dW", library)
    assert "No version information" in output("readelf", "-VW", library)
