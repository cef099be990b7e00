/* SPDX-License-Identifier: MIT */
/*
 * What is known of the program's listeners, by descriptor.
 *
 * A descriptor is a small number that the program may close and reuse at any time, by
 * ways nobody sees. So this is a hint: whoever acts on it makes sure. Descriptors of
 * 65536 and above are not known.
 */
#ifndef TP_WATCH_H
#define TP_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum tp_watch {
	TP_LISTENS, /* a TCP listener the rules may apply to */
	TP_POLLED,  /* the program waits for the listener in poll or select */
	TP_CAREFUL, /* ... accept on it may sleep, and has met one that came to nothing */
	TP_NONBLOCKING, /* accept on it does not sleep, as the program wants it */
	TP_ACCEPTED,	/* this process accepts from it, rather than passing it on */
	TP_SHARED,	/* it has a channel (share.h) */
	TP_EMULATED,	/* it was blocking; O_NONBLOCK is set on it by us (sleep.h) */
	TP_SEARCHED,	/* no epoll set that holds it was found in /proc */
	TP_WATCHES,
};

#define TP_WATCH_MAX 65536

/* All of 64 descriptors in one line of the cache: a child that closes the listener it got
 * copies a page of this, not one for each kind. */
extern _Atomic uint64_t tp_watch_bits[TP_WATCH_MAX / 64][TP_WATCHES];
extern atomic_int tp_watch_open_questions;

/* All are safe in threads and signal handlers; without another word, no system call. */

static inline bool tp_watch_has(int fd, enum tp_watch what)
{
	return fd >= 0 && fd < TP_WATCH_MAX &&
	       (atomic_load_explicit(&tp_watch_bits[fd / 64][what],
				     memory_order_relaxed) >>
			(fd % 64) &
		1);
}

/* Whether poll and select have something to learn or to do for a listener. */
static inline bool tp_watch_has_questions(void)
{
	return atomic_load_explicit(&tp_watch_open_questions, memory_order_relaxed) > 0;
}

void tp_watch_add(int fd, enum tp_watch what);

/* It was so, and is not any more. */
void tp_watch_drop(int fd, enum tp_watch what);

/* The descriptor is no listener any more. */
void tp_watch_forget(int fd);

/* The next descriptor from fd on that LISTENS, or -1. */
int tp_watch_next(int fd);

#endif
