/* SPDX-License-Identifier: MIT */
/*
 * Connections that poll or select has taken ahead of accept, so as to be sure of them:
 * the next accept on their listener hands them out. A descriptor is recognised before
 * use: the program may have closed it.
 *
 * All functions are safe in threads, signal handlers and forked children, and use no
 * lock. errno is not kept.
 */
#ifndef TP_READY_H
#define TP_READY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "connection.h"

extern atomic_int tp_ready_count;

/* Whether there is any: one relaxed load. */
static inline bool tp_ready_any(void)
{
	return atomic_load_explicit(&tp_ready_count, memory_order_relaxed) > 0;
}

/* False when there is no place for it. */
bool tp_ready_keep(int listener, const struct tp_connection *connection);

/* Whether there is one for this listener. */
bool tp_ready_has(int listener);

/* Takes one out. */
bool tp_ready_take(int listener, struct tp_connection *connection);

/* In a child after fork: closes the copies. */
void tp_ready_forked(void);

#endif
