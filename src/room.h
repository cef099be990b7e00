/* SPDX-License-Identifier: MIT */
/*
 * The waiting rooms: connections whose header is not complete.
 *
 * The room of a listener is an epoll instance that holds its parked connections and a
 * timer for the nearest deadline. It is there only while somebody is in it. Whoever can
 * wait for the listener can wait for the room beside it.
 *
 * Parked descriptors are close-on-exec and belong to the process that accepted them: a
 * forked child closes its copies. Before a descriptor of a room is used it is made sure
 * that it is still ours, since daemons close descriptors they do not know.
 *
 * All functions are safe in threads and forked children, use no lock, and do not wait.
 * The caller has disabled cancellation. errno is not kept.
 */
#ifndef TP_ROOM_H
#define TP_ROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <sys/epoll.h>

#include "admit.h"

extern atomic_int tp_room_count;

/* Whether any connection is parked in this process: one relaxed load. */
static inline bool tp_room_any(void)
{
	return atomic_load_explicit(&tp_room_count, memory_order_relaxed) > 0;
}

/* How the program will learn of a parked connection. */
enum tp_parked {
	TP_PARKED_NOT,	  /* there was no place: the connection is still the caller's */
	TP_PARKED,	  /* no epoll set holds the listener */
	TP_PARKED_IN_SET, /* the epoll sets that hold the listener hold the room, too */
};

/*
 * Takes over a WAITING connection of the listener. With search, epoll sets are also
 * looked for in /proc. When there are too many, the one that has waited longest goes.
 * The connection gets another descriptor, out of the program's way.
 */
enum tp_parked tp_room_park(const struct tp_policy *policy, int listener,
			    struct tp_connection *connection, bool search);

/*
 * A connection of the listener that may be handed over now, if there is one: looks at
 * those with news, and ends those that are refused or late.
 */
bool tp_room_take(const struct tp_policy *policy, int listener,
		  struct tp_connection *connection);

/*
 * The epoll descriptors of the listener's rooms; returns how many, at most max. They may
 * be closed at any moment: good for a look (poll), not for more.
 */
size_t tp_room_descriptors(int listener, int *fds, size_t max);

/* Does with the listener's rooms what the program has just done with it in an epoll set.
 */
void tp_room_mirror(int listener, int epfd, int op, const struct epoll_event *event);

/*
 * Puts the listener's parked connections into its channel (share.h), for whichever
 * process waits next; false if some had to stay. And takes all out of there; false if
 * there was none. Sets that hold the listener by a note hold the room then, too.
 */
bool tp_room_share(const struct tp_policy *policy, int listener);
bool tp_room_gather(const struct tp_policy *policy, int listener);

/* The listener is gone: its connections are reset, as those in the kernel's queue are. */
void tp_room_close(int listener);

/*
 * In a child after fork: closes the copies. Also for children of a bare clone(2), which
 * no handler is called in: `if (tp_room_is_copy()) tp_room_forked()`.
 */
void tp_room_forked(void);
bool tp_room_is_copy(void);

/* From now on children are known: the process has something that they could spoil. */
void tp_room_mark_owner(void);

/* Whether this is a child of vfork, which runs on its parent's memory. */
bool tp_room_is_borrowed(void);

#endif
