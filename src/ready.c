/* SPDX-License-Identifier: MIT */
#include "ready.h"

#include "real.h"

#define PLACES 64 /* one for each listener that is waited for is enough */

enum { FREE, BUSY, KEPT };

static struct place {
	atomic_int state;
	atomic_int listener;
	struct tp_connection connection;
} places[PLACES];

atomic_int tp_ready_count;

static bool claim(struct place *place, int from)
{
	return atomic_load_explicit(&place->state, memory_order_relaxed) == from &&
	       atomic_compare_exchange_strong(&place->state, &from, BUSY);
}

bool tp_ready_keep(int listener, const struct tp_connection *connection)
{
	for (struct place *place = places; place < places + PLACES; place++) {
		if (!claim(place, FREE))
			continue;
		place->connection = *connection;
		atomic_store(&place->listener, listener);
		atomic_fetch_add(&tp_ready_count, 1);
		atomic_store_explicit(&place->state, KEPT, memory_order_release);
		return true;
	}
	return false;
}

bool tp_ready_has(int listener)
{
	for (const struct place *place = places; place < places + PLACES; place++)
		if (atomic_load(&place->state) == KEPT &&
		    atomic_load(&place->listener) == listener)
			return true;
	return false;
}

bool tp_ready_take(int listener, struct tp_connection *connection)
{
	for (struct place *place = places; place < places + PLACES; place++) {
		if (atomic_load(&place->listener) != listener || !claim(place, KEPT))
			continue;
		bool found = atomic_load(&place->listener) == listener;
		*connection = place->connection;
		if (found)
			atomic_fetch_sub(&tp_ready_count, 1);
		atomic_store_explicit(&place->state, found ? FREE : KEPT,
				      memory_order_release);
		if (found)
			return true;
	}
	return false;
}

void tp_ready_forked(void)
{
	for (struct place *place = places; place < places + PLACES; place++) {
		if (atomic_load(&place->state) == KEPT)
			tp_real()->close(place->connection.fd);
		atomic_store(&place->state, FREE);
	}
	atomic_store(&tp_ready_count, 0);
}
