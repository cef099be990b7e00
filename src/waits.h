/* SPDX-License-Identifier: MIT */
/*
 * poll and select: a listener is reported readable when accept has something to hand out.
 *
 * With nothing parked, and no listener on which accept may sleep, the calls go straight
 * through after one or two relaxed loads.
 */
#ifndef TP_WAITS_H
#define TP_WAITS_H

#include <poll.h>
#include <signal.h>
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

#endif
