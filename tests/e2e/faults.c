/* SPDX-License-Identifier: MIT */
/*
 * Makes system calls of the library fail, and only the library's. Preloaded behind it.
 *
 *	FAULT="recv 4 2"        the second call of recv fails with errno 4 (EINTR)
 *	FAULT="recv 4 every"    every one does
 *	FAULT="recv 4 from 20"  every one from the 20th on
 *	FAULT="recv 4 random 7" one of three does, by this seed
 *	FAULT_LOG=PATH          gets a byte for each call that failed
 *
 * A call is the library's when it returns into it. Where the library only hands a call of
 * the program on, by a jump, nothing fails: the program would see the kernel's error.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static struct {
	char call[32];
	int error;
	unsigned at; /* 0: every one */
	bool random, on;
	int log;
} fault;
static atomic_uint calls;
static uintptr_t library_start, library_end;

static int find_library(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)size, (void)data;
	const char *name = strrchr(info->dlpi_name, '/');
	if (!name || strcmp(name, "/libtruepeer.so") != 0)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		library_start = info->dlpi_addr + part->p_vaddr;
		library_end = library_start + part->p_memsz;
	}
	return 1;
}

/* Runs before the library's own constructor, since it is loaded behind. */
__attribute__((constructor)) static void load(void)
{
	const char *wanted = getenv("FAULT"), *log = getenv("FAULT_LOG");
	char when[16] = "";
	unsigned seed = 0;
	if (!wanted || !log)
		return;
	if (sscanf(wanted, "%31s %d %15s %u", fault.call, &fault.error, when, &seed) < 3)
		abort();
	fault.random = !strcmp(when, "random");
	fault.on = !strcmp(when, "from");
	fault.at =
		fault.random || fault.on ? seed : (unsigned)atoi(when); /* "every" is 0 */
	fault.log = (int)syscall(SYS_openat, AT_FDCWD, log,
				 O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	int high = (int)syscall(SYS_fcntl, fault.log, F_DUPFD_CLOEXEC, 900);
	syscall(SYS_close, fault.log);
	fault.log = high;
	dl_iterate_phdr(find_library, NULL);
	if (!library_end)
		abort();
}

static bool is_due(unsigned number)
{
	if (fault.random)
		return (number + fault.at) * 2654435761u % 65536 < 65536 / 3;
	return !fault.at || number == fault.at || (fault.on && number > fault.at);
}

static bool fails(const char *call, const void *caller)
{
	uintptr_t at = (uintptr_t)caller;
	if (at < library_start || at >= library_end || strcmp(call, fault.call) != 0 ||
	    !is_due(atomic_fetch_add(&calls, 1) + 1))
		return false;
	syscall(SYS_write, fault.log, ".", 1);
	errno = fault.error;
	return true;
}

/* A function that fails with `failed`, or is the next library's. */
#define INJECT(result, failed, name, parameters, arguments)                              \
	result name parameters                                                           \
	{                                                                                \
		static _Atomic(void *) next;                                             \
		result(*real) parameters;                                                \
		void *symbol = next;                                                     \
		if (fails(#name, __builtin_return_address(0)))                           \
			return failed;                                                   \
		if (!symbol)                                                             \
			next = symbol = dlsym(RTLD_NEXT, #name);                         \
		memcpy(&real, &symbol, sizeof real);                                     \
		return real arguments;                                                   \
	}

/* ---- what the library uses; test_faults.py reads the names ---- */

INJECT(ssize_t, -1, recv, (int fd, void *to, size_t size, int flags),
       (fd, to, size, flags))
INJECT(ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
INJECT(ssize_t, -1, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
INJECT(ssize_t, -1, writev, (int fd, const struct iovec *parts, int n), (fd, parts, n))
INJECT(ssize_t, -1, read, (int fd, void *to, size_t size), (fd, to, size))
INJECT(int, -1, socketpair, (int domain, int type, int protocol, int ends[2]),
       (domain, type, protocol, ends))
INJECT(int, -1, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
INJECT(int, -1, listen, (int fd, int backlog), (fd, backlog))
INJECT(int, -1, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
INJECT(int, -1, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
INJECT(int, -1, getpeername, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
INJECT(int, -1, getsockopt, (int fd, int level, int what, void *to, socklen_t *n),
       (fd, level, what, to, n))
INJECT(int, -1, setsockopt, (int fd, int level, int what, const void *to, socklen_t n),
       (fd, level, what, to, n))
INJECT(int, -1, accept, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))
INJECT(int, -1, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags),
       (fd, a, n, flags))
INJECT(int, -1, poll, (struct pollfd * set, nfds_t n, int ms), (set, n, ms))
INJECT(int, -1, ppoll,
       (struct pollfd * set, nfds_t n, const struct timespec *limit,
	const sigset_t *mask),
       (set, n, limit, mask))
INJECT(int, -1, epoll_create1, (int flags), (flags))
INJECT(int, -1, epoll_ctl, (int set, int op, int fd, struct epoll_event *event),
       (set, op, fd, event))
INJECT(int, -1, epoll_wait, (int set, struct epoll_event *events, int n, int ms),
       (set, events, n, ms))
INJECT(int, -1, timerfd_create, (int clock, int flags), (clock, flags))
INJECT(int, -1, timerfd_settime,
       (int fd, int flags, const struct itimerspec *to, struct itimerspec *old),
       (fd, flags, to, old))
INJECT(int, -1, timerfd_gettime, (int fd, struct itimerspec *to), (fd, to))
INJECT(int, -1, fstat, (int fd, struct stat *to), (fd, to))
INJECT(int, -1, getrlimit, (__rlimit_resource_t what, struct rlimit *to), (what, to))
INJECT(int, -1, clock_gettime, (clockid_t clock, struct timespec *to), (clock, to))
INJECT(int, -1, madvise, (void *at, size_t size, int advice), (at, size, advice))
INJECT(int, -1, munmap, (void *at, size_t size), (at, size))
INJECT(int, -1, sigaction,
       (int number, const struct sigaction *to, struct sigaction *old), (number, to, old))
INJECT(int, -1, mkostemp, (char *path, int flags), (path, flags))
INJECT(int, fault.error, posix_fallocate, (int fd, off_t from, off_t size),
       (fd, from, size))
INJECT(ssize_t, -1, pread, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
INJECT(ssize_t, -1, pwrite, (int fd, const void *from, size_t size, off_t at),
       (fd, from, size, at))
INJECT(int, -1, fchmod, (int fd, mode_t mode), (fd, mode))
INJECT(int, -1, link, (const char *from, const char *to), (from, to))
INJECT(int, -1, unlink, (const char *path), (path))
INJECT(ssize_t, -1, readlink, (const char *path, char *to, size_t size), (path, to, size))
INJECT(ssize_t, -1, readlinkat, (int at, const char *path, char *to, size_t size),
       (at, path, to, size))
INJECT(void *, MAP_FAILED, mmap,
       (void *at, size_t size, int use, int how, int fd, off_t from),
       (at, size, use, how, fd, from))

/* Linux has closed the descriptor even when it says EINTR (close(2)). */
int close(int fd)
{
	bool failed = fails("close", __builtin_return_address(0));
	int result = (int)syscall(SYS_close, fd);
	if (!failed)
		return result;
	errno = fault.error;
	return -1;
}

/* Those with a variable number of arguments. */
#define LAST(before)                                                                     \
	({                                                                               \
		va_list list;                                                            \
		va_start(list, before);                                                  \
		long last = va_arg(list, long);                                          \
		va_end(list);                                                            \
		last;                                                                    \
	})

int fcntl(int fd, int what, ...)
{
	if (fails("fcntl", __builtin_return_address(0)))
		return -1;
	return (int)syscall(SYS_fcntl, fd, what, LAST(what));
}

int open(const char *path, int flags, ...)
{
	if (fails("open", __builtin_return_address(0)))
		return -1;
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, LAST(flags));
}

int openat(int at, const char *path, int flags, ...)
{
	if (fails("openat", __builtin_return_address(0)))
		return -1;
	return (int)syscall(SYS_openat, at, path, flags, LAST(flags));
}

/* Also this file's own way to the kernel. */
long syscall(long number, ...)
{
	static _Atomic(void *) next;
	long (*real)(long, ...), a[6];
	void *symbol = next;
	va_list list;
	if (fails("syscall", __builtin_return_address(0)))
		return -1;
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (!symbol)
		next = symbol = dlsym(RTLD_NEXT, "syscall");
	memcpy(&real, &symbol, sizeof real);
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
