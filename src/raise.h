/* SPDX-License-Identifier: MIT */
/*
 * How much of a table was ever in use, so that nobody looks at the rest: a forked child
 * pays for each page that it touches first.
 */
#ifndef TP_RAISE_H
#define TP_RAISE_H

#include <stdatomic.h>
#include <stddef.h>

/* Makes *mark at least so high. Safe in threads and signal handlers. */
static inline void tp_raise(atomic_size_t *mark, size_t height)
{
	size_t before = atomic_load(mark);
	while (before < height && !atomic_compare_exchange_weak(mark, &before, height))
		;
}

#endif
