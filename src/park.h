/* SPDX-License-Identifier: MIT */
/*
 * Connections whose header is not complete are parked, and taken again once it is.
 *
 * Parked connections belong to the process that accepted them: a forked child closes its
 * copies.
 *
 * All functions are safe in threads and forked children, use no lock, and do not wait.
 * The caller has disabled cancellation. errno is not kept.
 */
#ifndef TP_PARK_H
#define TP_PARK_H

#include "connection.h"
#include "policy.h"

/* How the program will learn of a parked connection. */
enum tp_parked {
	TP_PARKED_NOT,	  /* it cannot be: the connection is still the caller's */
	TP_PARKED,	  /* no epoll set holds the listener */
	TP_PARKED_IN_SET, /* the epoll sets that hold the listener hold its room, too */
};

/*
 * Takes over a WAITING connection of the listener. With search, epoll sets are also
 * looked for in /proc. When there are too many, the one that has waited longest goes.
 */
enum tp_parked tp_park(const struct tp_policy *policy, int listener,
		       struct tp_connection *connection, bool search);

/*
 * A connection of the listener that may be handed over now, if there is one: looks at
 * those with news, and ends those that are refused or late.
 */
bool tp_park_take(const struct tp_policy *policy, int listener,
		  struct tp_connection *connection);

/* The listener is gone: its connections are reset, as those in the kernel's queue are. */
void tp_park_close(int listener);

/* In a child after fork: its copies go. And: if this is one of a bare clone(2), where no
 * handler has been called. */
void tp_park_forked(void);
void tp_park_settle(void);

#endif
