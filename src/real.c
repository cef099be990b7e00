/* SPDX-License-Identifier: MIT */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

static struct tp_real functions;
static atomic_bool resolved;

static int missing(void)
{
	errno = ENOSYS;
	return -1;
}

/* POSIX lets a function pointer travel in an object pointer; C does not let us cast it.
 */
static void look_up(const char *name, void *function, size_t size)
{
	void *found = dlsym(RTLD_NEXT, name);
	int (*fallback)(void) = missing;
	memcpy(function, found ? (void *)&found : (void *)&fallback, size);
}

#ifdef __SANITIZE_MEMORY__
/*
 * MemorySanitizer's own functions, which know what the kernel has written, are the
 * program's, before the library: RTLD_NEXT goes past them. So we say it, where it is
 * memory that nobody has written before.
 */
#include <sanitizer/msan_interface.h>

static struct tp_real silent;

static int getpeername_told(int fd, struct sockaddr *addr, socklen_t *len)
{
	socklen_t room = len ? *len : 0;
	int result = silent.getpeername(fd, addr, len);
	if (!result)
		__msan_unpoison(addr, *len < room ? *len : room);
	return result;
}

static int getsockname_told(int fd, struct sockaddr *addr, socklen_t *len)
{
	socklen_t room = len ? *len : 0;
	int result = silent.getsockname(fd, addr, len);
	if (!result)
		__msan_unpoison(addr, *len < room ? *len : room);
	return result;
}

static int epoll_wait_told(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
	int n = silent.epoll_wait(epfd, events, max, timeout_ms);
	if (n > 0)
		__msan_unpoison(events, (size_t)n * sizeof *events);
	return n;
}

static void tell_sanitizer(void)
{
	silent = functions;
	functions.getpeername = getpeername_told;
	functions.getsockname = getsockname_told;
	functions.epoll_wait = epoll_wait_told;
}
#else
static void tell_sanitizer(void)
{
}
#endif

const struct tp_real *tp_real(void)
{
	if (!atomic_load_explicit(&resolved, memory_order_acquire)) {
		/* Two threads at once write the same values. */
#define INTERPOSED(result, name, parameters)                                             \
	look_up(#name, &functions.name, sizeof functions.name);
#include "interposed.def"
#undef INTERPOSED
		tell_sanitizer();
		atomic_store_explicit(&resolved, true, memory_order_release);
	}
	return &functions;
}
