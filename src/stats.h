/* SPDX-License-Identifier: MIT */
/* The counters: a file that all processes of a server have mapped (stats_file.h). */
#ifndef TP_STATS_H
#define TP_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "outcome.h"

struct tp_stats_file;

extern _Atomic(struct tp_stats_file *) tp_stats_mapped;

/* Whether anything is counted: one relaxed load. */
static inline bool tp_stats_on(void)
{
	return atomic_load_explicit(&tp_stats_mapped, memory_order_relaxed);
}

/*
 * Maps the file path[0..len), absolute, unless one is mapped already. With `create` it is
 * made when it is not there; it appears with all its blocks, so that counting never meets
 * a full disk. Only a regular file of ours is taken, which nobody else may write to or
 * cut short: it belongs to this process's user or to root. Returns NULL, or why it is not
 * mapped, static text. Not for the accept path; errno is not kept.
 */
const char *tp_stats_open(const char *path, size_t len, bool create);

/* All below do nothing, and return 0, unless tp_stats_on(). Atomic additions: safe in
 * threads, signal handlers and forked children; no system call; errno is kept. */

/* Where to count a listener's connections: its own place, or that of all others. */
unsigned tp_stats_place(const struct tp_addr *listener);

void tp_stats_count(unsigned place, enum tp_outcome outcome, enum tp_reason reason);

/* A header was complete so many milliseconds after accept. */
void tp_stats_count_wait(unsigned place, int64_t ms);

/* Connections with this deadline (tp_clock_ms) were parked, or are not any more. */
void tp_stats_count_parked(int64_t deadline_ms, int change);

#endif
