/* SPDX-License-Identifier: MIT */
/* The descriptors of the process, whoever made them. */
#ifndef TP_DESCRIPTORS_H
#define TP_DESCRIPTORS_H

#include <poll.h>

#define TP_DESCRIPTORS_MAX 4096 /* as far as a look at all of them goes */

/* A look at those from `next` up to below `end`. */
struct tp_descriptors {
	int next, end;
	int looked_from, looked_to; /* these are in fds */
	struct pollfd fds[256];
};

/*
 * The next one that is open, or -1. A system call for 256 numbers; where it is denied, or
 * RLIMIT_NOFILE is lower than that, every number may be one. Safe in threads, signal
 * handlers and children of vfork. errno is not kept.
 */
int tp_descriptors_next(struct tp_descriptors *all);

#endif
