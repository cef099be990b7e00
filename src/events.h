/* SPDX-License-Identifier: MIT */
/* What happened to connections: a line in the log, and the counters. */
#ifndef TP_EVENTS_H
#define TP_EVENTS_H

#include <stdbool.h>

#include "connection.h"
#include "outcome.h"
#include "receive.h"

/* All are safe in threads, signal handlers and forked children; errno is not kept. */

/* Whether anybody wants to know of connections that are let in. */
bool tp_events_wanted(void);

/* A connection to the listener, a descriptor or -1, has arrived. */
void tp_event_arrived(struct tp_connection *connection, int listener);

/*
 * What became of the connection; once for each, the last thing that is said of it. The
 * reception is what came instead of a header, or, of one that is let in, its header; NULL
 * where there was none.
 */
void tp_event(const struct tp_connection *connection, enum tp_outcome outcome,
	      enum tp_reason reason, const struct tp_reception *reception);

/* It was parked, and is not any more (with the same deadline_ms). */
void tp_event_parked(const struct tp_connection *connection);
void tp_event_unparked(const struct tp_connection *connection);

#endif
