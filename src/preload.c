/* SPDX-License-Identifier: MIT */
/* The interposed functions, and nothing else. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "accept.h"
#include "environ.h"
#include "inert.h"
#include "inherited.h"
#include "listener.h"
#include "names.h"
#include "park.h"
#include "program.h"
#include "ready.h"
#include "real.h"
#include "ruleset.h"
#include "sets.h"
#include "share.h"
#include "sleep.h"
#include "stats.h"
#include "waits.h"
#include "watch.h"

#define EXPORT __attribute__((visibility("default")))

/*
 * Start-up. Any function below may run before this: constructors of other libraries call
 * libc, too. So each step can also be the first use's.
 *
 *   load            the variables are copied, the functions behind ours looked up, it is
 *                   decided whether the library is inert, the rooms are made ready for
 *                   forks, the rules file that is there read, counters mapped: a program
 *                   may drop its privileges or chroot before the first use
 *   first listen,   the settings are read, the log is opened
 *   first accept
 *
 *   exit            what is parked goes to the other processes
 */
static void open_stats(void)
{
	const struct tp_config config = tp_ruleset_kept(tp_environ());
	const struct tp_path path = tp_config_stats(&config);
	struct tp_program program;
	if (!path.len)
		return;
	tp_program_identify(&program);
	if (tp_config_names_program(&config, program.names))
		tp_stats_open(path.text, path.len, false);
}

static void forked(void)
{
	tp_ready_forked();
	tp_park_forked();
	tp_sets_forked();
}

__attribute__((constructor)) static void load(void)
{
	int saved = errno;
	tp_environ_capture();
	tp_real();
	if (tp_is_inert())
		return;
	pthread_atfork(tp_listener_fork, NULL, forked);
	bool rules_file = tp_ruleset_keep_file(tp_environ(), TP_RULES_FILE);
	if (*tp_environ() || rules_file) {
		tp_share_adopt();
		tp_listener_inherit();
		tp_sleep_make_mark();
		open_stats();
	}
	tp_names_expect_destinations(rules_file || tp_environ_has("SOCKNAME"));
	tp_inherited_read();
	errno = saved;
}

__attribute__((destructor)) static void unload(void)
{
	tp_listener_exit();
}

EXPORT int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return tp_accept(&(struct tp_accept){fd, addr, len, false, 0});
}

EXPORT int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return tp_accept(&(struct tp_accept){fd, addr, len, true, flags});
}

EXPORT int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return tp_names_getpeername(fd, addr, len);
}

EXPORT int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	return tp_names_getsockname(fd, addr, len);
}

EXPORT int listen(int fd, int backlog)
{
	return tp_listener_listen(fd, backlog);
}

EXPORT int close(int fd)
{
	return tp_listener_close(fd);
}

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return tp_listener_epoll_ctl(epfd, op, fd, event);
}

EXPORT int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout_ms)
{
	return tp_waits_epoll((struct tp_epoll_wait){.kind = TP_EPOLL_WAIT,
						     .epfd = epfd,
						     .events = events,
						     .max = max,
						     .timeout_ms = timeout_ms});
}

EXPORT int epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout_ms,
		       const sigset_t *mask)
{
	return tp_waits_epoll((struct tp_epoll_wait){.kind = TP_EPOLL_PWAIT,
						     .epfd = epfd,
						     .events = events,
						     .max = max,
						     .timeout_ms = timeout_ms,
						     .mask = mask});
}

/* Older headers do not have it, musl's for one. */
int epoll_pwait2(int epfd, struct epoll_event *events, int max,
		 const struct timespec *timeout, const sigset_t *mask);

EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int max,
			const struct timespec *timeout, const sigset_t *mask)
{
	return tp_waits_epoll((struct tp_epoll_wait){.kind = TP_EPOLL_PWAIT2,
						     .epfd = epfd,
						     .events = events,
						     .max = max,
						     .timeout = timeout,
						     .mask = mask});
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	return tp_waits_poll(fds, count, timeout_ms);
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		 const sigset_t *mask)
{
	return tp_waits_ppoll(fds, count, timeout, mask);
}

/* glibc's twins end the program when the array is smaller than the count. */
int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		const sigset_t *mask, size_t size);

static void check_size(nfds_t count, size_t size)
{
	if (size / sizeof(struct pollfd) < count)
		abort();
}

/* What poll and ppoll are called when they are compiled with _FORTIFY_SOURCE. */
EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size)
{
	check_size(count, size);
	return tp_waits_poll(fds, count, timeout_ms);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		       const sigset_t *mask, size_t size)
{
	check_size(count, size);
	return tp_waits_ppoll(fds, count, timeout, mask);
}

EXPORT int select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
		  struct timeval *timeout)
{
	return tp_waits_select(count, readable, writable, exceptional, timeout);
}

EXPORT int pselect(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
		   const struct timespec *timeout, const sigset_t *mask)
{
	return tp_waits_pselect(count, readable, writable, exceptional, timeout, mask);
}

#if defined(__GLIBC__) && __SIZEOF_LONG__ == 4
/*
 * What programs with 64-bit time call on 32-bit systems (glibc 2.34, _TIME_BITS=64).
 * Relative times are cut to what the older functions hold, 68 years.
 */
struct timespec64 {
	int64_t tv_sec;
	int32_t tv_nsec;
	int32_t padding;
};

struct timeval64 {
	int64_t tv_sec;
	int64_t tv_usec;
};

int __ppoll64(struct pollfd *, nfds_t, const struct timespec64 *, const sigset_t *);
int __ppoll64_chk(struct pollfd *, nfds_t, const struct timespec64 *, const sigset_t *,
		  size_t);
int __select64(int, fd_set *, fd_set *, fd_set *, struct timeval64 *);
int __pselect64(int, fd_set *, fd_set *, fd_set *, const struct timespec64 *,
		const sigset_t *);

static long cut(int64_t seconds)
{
	return seconds > LONG_MAX ? LONG_MAX : seconds < 0 ? -1 : (long)seconds;
}

static const struct timespec *narrow(const struct timespec64 *wide,
				     struct timespec *narrow)
{
	if (wide)
		*narrow = (struct timespec){cut(wide->tv_sec), wide->tv_nsec};
	return wide ? narrow : NULL;
}

EXPORT int __ppoll64(struct pollfd *fds, nfds_t count, const struct timespec64 *timeout,
		     const sigset_t *mask)
{
	struct timespec limit;
	return tp_waits_ppoll(fds, count, narrow(timeout, &limit), mask);
}

EXPORT int __ppoll64_chk(struct pollfd *fds, nfds_t count,
			 const struct timespec64 *timeout, const sigset_t *mask,
			 size_t size)
{
	check_size(count, size);
	return __ppoll64(fds, count, timeout, mask);
}

EXPORT int __select64(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
		      struct timeval64 *timeout)
{
	struct timeval limit = {0};
	if (timeout)
		limit = (struct timeval){
			cut(timeout->tv_sec + timeout->tv_usec / 1000000),
			(suseconds_t)(timeout->tv_usec % 1000000)};
	int bits = tp_waits_select(count, readable, writable, exceptional,
				   timeout ? &limit : NULL);
	if (timeout)
		*timeout = (struct timeval64){limit.tv_sec, limit.tv_usec};
	return bits;
}

EXPORT int __pselect64(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
		       const struct timespec64 *timeout, const sigset_t *mask)
{
	struct timespec limit;
	return tp_waits_pselect(count, readable, writable, exceptional,
				narrow(timeout, &limit), mask);
}
#endif
