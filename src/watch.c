/* SPDX-License-Identifier: MIT */
#include "watch.h"

#include <errno.h>
#include <sys/socket.h>

#include "raise.h"

_Alignas(64) _Atomic uint64_t tp_watch_bits[TP_WATCH_MAX / 64][TP_WATCHES];

static atomic_size_t end; /* above the highest descriptor that ever LISTENS */

/* Listeners that are not known to be NONBLOCKING. */
atomic_int tp_watch_open_questions;

/* Whether the bit was set before. */
static bool set_bit(int fd, enum tp_watch what)
{
	uint64_t bit = (uint64_t)1 << fd % 64;
	return atomic_fetch_or(&tp_watch_bits[fd / 64][what], bit) & bit;
}

static bool clear_bit(int fd, enum tp_watch what)
{
	uint64_t bit = (uint64_t)1 << fd % 64;
	return atomic_fetch_and(&tp_watch_bits[fd / 64][what], ~bit) & bit;
}

void tp_watch_add(int fd, enum tp_watch what)
{
	if (tp_watch_has(fd, what) || fd < 0 || fd >= TP_WATCH_MAX || set_bit(fd, what))
		return;
	if (what == TP_LISTENS)
		tp_raise(&end, (size_t)fd + 1);
	if (what == TP_LISTENS && !tp_watch_has(fd, TP_NONBLOCKING))
		atomic_fetch_add(&tp_watch_open_questions, 1);
	if (what == TP_NONBLOCKING && tp_watch_has(fd, TP_LISTENS))
		atomic_fetch_sub(&tp_watch_open_questions, 1);
}

void tp_watch_drop(int fd, enum tp_watch what)
{
	if (!tp_watch_has(fd, what) || !clear_bit(fd, what))
		return;
	if (what == TP_NONBLOCKING && tp_watch_has(fd, TP_LISTENS))
		atomic_fetch_add(&tp_watch_open_questions, 1);
}

void tp_watch_forget(int fd)
{
	if (fd < 0 || fd >= TP_WATCH_MAX)
		return;
	if (!clear_bit(fd, TP_LISTENS))
		return;
	if (!clear_bit(fd, TP_NONBLOCKING))
		atomic_fetch_sub(&tp_watch_open_questions, 1);
	for (enum tp_watch what = 0; what < TP_WATCHES; what++)
		clear_bit(fd, what);
}

int tp_watch_next(int fd)
{
	for (; fd < (int)atomic_load(&end); fd++) {
		uint64_t word = atomic_load(&tp_watch_bits[fd / 64][TP_LISTENS]);
		if (!word)
			fd |= 63;
		else if (word >> fd % 64 & 1)
			return fd;
	}
	return -1;
}
