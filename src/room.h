/* SPDX-License-Identifier: MIT */
/*
 * The waiting rooms: where the connections of a listener wait whose header is not
 * complete.
 *
 * A room is an epoll instance that holds them and a timer for the nearest deadline.
 * Whoever can wait for the listener can wait for the room beside it. It is there while
 * somebody uses it: each connection in it (place.h) and each thread that looks at it
 * counts for one. The last one out closes it.
 *
 * Before a descriptor of a room is used it is made sure that it is still ours, since
 * daemons close descriptors they do not know.
 *
 * All functions are safe in threads and forked children, use no lock, and do not wait.
 * errno is not kept. `key` is the listener's tp_socket_key.
 */
#ifndef TP_ROOM_H
#define TP_ROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/epoll.h>

/* Connections that are in the rooms of this process, or on their way there. */
extern atomic_int tp_room_count;

/* Whether there are any: one relaxed load. */
static inline bool tp_room_any(void)
{
	return atomic_load_explicit(&tp_room_count, memory_order_relaxed) > 0;
}

struct tp_room {
	_Atomic uint32_t users; /* 0: no room; CLOSING: on its way there */
	_Atomic uint64_t key;	/* of the listener; 0 while the room is being made */
	atomic_int epfd, timer;
	_Atomic int64_t alarm_ms; /* what the timer is set to */
};

#define TP_ROOM_TIMER UINT64_MAX /* its epoll data; the others are tickets (place.h) */

/* The next room of the listener from *index on, pinned: a user more, to be unpinned. */
struct tp_room *tp_room_next(uint64_t key, size_t *index);

/* A new one, pinned, with its alarm set; NULL where it cannot be had. */
struct tp_room *tp_room_make(uint64_t key, int64_t alarm_ms);

/* False when it is closing. */
bool tp_room_pin(struct tp_room *room);
void tp_room_unpin(struct tp_room *room);

/* Whether its descriptors are still what they were. */
bool tp_room_is_ours(const struct tp_room *room);

/* They are not: they shall be left alone. */
void tp_room_lose(struct tp_room *room);

/* When its timer shows (tp_clock_ms): then, or then at the latest. */
void tp_room_set_alarm(struct tp_room *room, int64_t at_ms);
void tp_room_hurry_alarm(struct tp_room *room, int64_t at_ms);

/* epoll_ctl(2) on the room; false when it failed. */
bool tp_room_watch(const struct tp_room *room, int op, int fd, uint32_t events,
		   uint64_t data);

/*
 * The epoll descriptors of the listener's rooms; returns how many, at most max. They may
 * be closed at any moment: good for a look (poll), not for more.
 */
size_t tp_room_descriptors(int listener, int *fds, size_t max);

/* Does with the listener's rooms what the program has just done with it in an epoll set.
 */
void tp_room_mirror(int listener, int epfd, int op, const struct epoll_event *event);

/* In a child after fork: closes the copies. */
void tp_room_forked(void);

#endif
