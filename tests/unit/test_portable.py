# SPDX-License-Identifier: MIT
"""The portable library as a file (configure --enable-portable): nothing that only one libc has."""

import os
import subprocess

LIBRARY = os.environ["LIBTRUEPEER"]

# glibc has had all of these in libc.so.6 since 2.17, and musl has them. A new one is to be
# looked up in both before it comes here.
IN_BOTH = set("""__errno_location __stack_chk_fail abort bind clock_gettime connect environ epoll_create1
fchmod fcntl getauxval getenv geteuid getpid getrlimit getsockname getsockopt link madvise memchr memcmp
memcpy memmove memrchr memset mkostemp mmap munmap open openat posix_fallocate pread
program_invocation_short_name pthread_setcancelstate pwrite read readlink readlinkat recv recvmsg rename
sendmsg setsockopt shutdown sigaction sigaddset sigemptyset signalfd sigorset sigprocmask socket socketpair
strchr strcspn strlen strncat strncmp strnlen strrchr strstr strtol syscall timerfd_create timerfd_gettime
timerfd_settime unlink unsetenv writev""".split())
# These may be missing: src/portable.c sees to that, and the compiler's start files.
WEAK = set("""__libc_dlopen_mode __libc_dlsym __register_atfork _pthread_cleanup_pop _pthread_cleanup_push
dlsym pthread_atfork _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable __cxa_finalize __gmon_start__
""".split())


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def undefined(kind):
    lines = output("nm", "-D", "--undefined-only", LIBRARY).splitlines()
    return {name for found, name in map(str.split, lines) if found.lower() == kind}


def test_only_what_both_libcs_have_is_used():
    assert undefined("u") - IN_BOTH == set()


def test_what_may_be_missing_is_weak():
    assert undefined("w") - WEAK == set()


def test_no_library_and_no_version_is_asked_for():
    assert "(NEEDED)" not in output("readelf", "-dW", LIBRARY)
    assert "No version information" in output("readelf", "-VW", LIBRARY)
