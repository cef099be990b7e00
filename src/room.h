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
	/* Its descriptors are lost, or do not obey: nobody shall wait in it any more. */
	atomic_bool broken;
};

#define TP_ROOM_TIMER UINT64_MAX /* its epoll data; the others are tickets (place.h) */

/* The next room of the listener from *index on, pinned: a user more, to be unpinned. */
struct tp_room *tp_room_next(uint64_t key, size_t *index);

/* A new one, pinned, with its alarm set; NULL where it cannot be had. */
struct tp_room *tp_room_make(uint64_t key, int64_t alarm_ms);

/* False when it is closing. */
bool tp_room_pin(struct tp_room *room);
void tp_room_unpin(struct tp_room *room);

/* Makes sure of its descriptors; false when it is broken. */
bool tp_room_is_sound(struct tp_room *room);

/* Leaves the descriptors of a broken room alone that are somebody else's now. That its
 * epoll instance has just held a connection of ours shows whose it is. */
void tp_room_lose(struct tp_room *room, bool held_ours);

/* When its timer shows (tp_clock_ms): then, or then at the latest. False when it could
 * not be set: the room is broken. */
bool tp_room_set_alarm(struct tp_room *room, int64_t at_ms);
bool tp_room_hurry_alarm(struct tp_room *room, int64_t at_ms);

/* epoll_ctl(2) on the room; false when it failed. A connection that could not be added is
 * not in it; with one that could not be changed or deleted the room is broken. */
bool tp_room_watch(struct tp_room *room, int op, int fd, uint32_t events, uint64_t data);

/* epoll_wait(2) for what is there now. When it fails the room is broken. */
int tp_room_news(struct tp_room *room, struct epoll_event *events, int max);

/*
 * The epoll descriptors of the listener's rooms; returns how many, at most max. They may
 * be closed at any moment: good for a look (poll), not for more. They are those of all
 * where the kernel does not tell which listener it is.
 */
size_t tp_room_descriptors(int listener, int *fds, size_t max);

/* Whether the number is that of a room, and not anybody else's by now. */
bool tp_room_is(int fd);

/* Does with the listener's rooms what the program has just done with it in an epoll set.
 */
void tp_room_mirror(int listener, int epfd, int op, const struct epoll_event *event);

/* In a child after fork: closes the copies. */
void tp_room_forked(void);

#endif
