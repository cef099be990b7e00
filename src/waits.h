/* SPDX-License-Identifier: MIT */
/*
 * poll and select: a listener is reported readable when accept has something to hand out.
 * epoll: the waits of processes that share a listener.
 *
 * With nothing parked, no listener on which accept may sleep, and none that is shared,
 * the calls go straight through after a few relaxed loads.
 */
#ifndef TP_WAITS_H
#define TP_WAITS_H

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

/* Each as the function of that name (poll(2), select(2)): results, errors, cancellation.
 */
int tp_waits_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int tp_waits_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		   const sigset_t *mask);
int tp_waits_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
		    struct timeval *timeout);
int tp_waits_pselect(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
		     const struct timespec *timeout, const sigset_t *mask);

/* epoll_wait and its kin (epoll_wait(2)); what the kind does not have is not looked at.
 */
struct tp_epoll_wait {
	enum { TP_EPOLL_WAIT, TP_EPOLL_PWAIT, TP_EPOLL_PWAIT2 } kind;
	int epfd;
	struct epoll_event *events;
	int max;
	int timeout_ms;
	const struct timespec *timeout;
	const sigset_t *mask;
};
int tp_waits_epoll(struct tp_epoll_wait call);

#endif
