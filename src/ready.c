/* SPDX-License-Identifier: MIT */
#include "ready.h"

#include <errno.h>

#include "real.h"
#include "sets.h"

#define PLACES 64 /* one for each listener that is waited for is enough */

enum { FREE, BUSY, KEPT };

/* Close together, and apart from what they are of: all that a forked child looks at. */
static atomic_int states[PLACES];

static struct place {
	atomic_int listener, fd;
	_Atomic uint64_t key; /* to recognise the descriptor */
	struct tp_connection connection;
} places[PLACES];

atomic_int tp_ready_count;

static bool claim(size_t i, int from)
{
	return atomic_load_explicit(&states[i], memory_order_relaxed) == from &&
	       atomic_compare_exchange_strong(&states[i], &from, BUSY);
}

/* The program may have closed it, and have something else there. Where the kernel does
 * not tell (seccomp(2)), it is believed. */
static bool is_ours(struct place *place)
{
	uint64_t was = atomic_load(&place->key),
		 key = tp_socket_key(atomic_load(&place->fd));
	return key ? !was || key == was : errno != EBADF && errno != ENOTSOCK;
}

bool tp_ready_keep(int listener, const struct tp_connection *connection)
{
	for (size_t i = 0; i < PLACES; i++) {
		if (!claim(i, FREE))
			continue;
		places[i].connection = *connection;
		atomic_store(&places[i].fd, connection->fd);
		atomic_store(&places[i].key, tp_socket_key(connection->fd));
		atomic_store(&places[i].listener, listener);
		atomic_fetch_add(&tp_ready_count, 1);
		atomic_store_explicit(&states[i], KEPT, memory_order_release);
		return true;
	}
	return false;
}

bool tp_ready_has(int listener)
{
	for (size_t i = 0; i < PLACES; i++)
		if (atomic_load(&states[i]) == KEPT &&
		    atomic_load(&places[i].listener) == listener && is_ours(&places[i]))
			return true;
	return false;
}

bool tp_ready_take(int listener, struct tp_connection *connection)
{
	for (size_t i = 0; i < PLACES; i++) {
		struct place *place = &places[i];
		if (atomic_load(&place->listener) != listener || !claim(i, KEPT))
			continue;
		bool found = atomic_load(&place->listener) == listener;
		bool ours = found && is_ours(place);
		*connection = place->connection;
		if (found)
			atomic_fetch_sub(&tp_ready_count, 1);
		atomic_store_explicit(&states[i], found ? FREE : KEPT,
				      memory_order_release);
		if (ours)
			return true;
	}
	return false;
}

/* Writes only what has changed: each page that a child writes to is copied for it. */
void tp_ready_forked(void)
{
	for (size_t i = 0; i < PLACES; i++) {
		if (atomic_load(&states[i]) == KEPT && is_ours(&places[i]))
			tp_real()->close(atomic_load(&places[i].fd));
		if (atomic_load(&states[i]) != FREE)
			atomic_store(&states[i], FREE);
	}
	if (tp_ready_any())
		atomic_store(&tp_ready_count, 0);
}
