/* SPDX-License-Identifier: MIT */
/*
 * The epoll sets of the program that hold its listeners.
 *
 * A room (room.h) is added to each of them beside the listener, with the same events and
 * user data, so that the program sees its listener readable. What epoll_ctl said is
 * noted; sets that were filled out of sight (inherited, raw system calls) are found in
 * /proc/self/fdinfo.
 */
#ifndef TP_SETS_H
#define TP_SETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* All are safe in threads and signal handlers, and use no lock; errno is not kept. */

/* What the program has just done with a listener, successfully; no system call. */
void tp_sets_note(int epfd, int op, int listener, const struct epoll_event *event);

/* The descriptor is no listener any more; no system call. */
void tp_sets_forget(int listener);

/*
 * Adds the room to every set that holds the listener, under whichever descriptor (key is
 * the listener's tp_socket_key). Notes that do not hold any more are dropped first.
 * With search also sets that were never noted. Returns the number of sets; below 0 when
 * they refused it, all that there are.
 */
int tp_sets_attach(int room, int listener, uint64_t key, bool search);

/* Does with the room what the program has just done with the listener in one set. */
void tp_sets_mirror(int room, int epfd, int op, const struct epoll_event *event);

/*
 * The door of the listener's channel (share.h) gets into the sets like a room, with an
 * event of its own, by which a wait knows it: the program asks for that of nothing.
 */
#define TP_DOOR_EVENT ((uint32_t)EPOLLRDNORM)
void tp_sets_attach_door(int door, int listener, uint64_t key);
void tp_sets_mirror_door(int door, int epfd, int op, const struct epoll_event *event);

/* Takes the door out of the sets that the listener is noted in; but not out of those that
 * a parent noted, as they are one with its own. */
void tp_sets_leave(int door, int listener);

/* In a child after fork. */
void tp_sets_forked(void);

/* Whether any set is known to hold the listener. */
bool tp_sets_hold(int listener);

/* The next listener noted in the set from *index on, with its user data; or -1. */
int tp_sets_next(int epfd, size_t *index, uint64_t *data);

/* The unique number of a socket (SO_COOKIE, Linux 4.6), 0 when it has none. */
uint64_t tp_socket_key(int fd);

/* What the kernel says; UNSURE where it does not (seccomp(2)). */
enum tp_answer { TP_NO, TP_YES, TP_UNSURE };

/* Whether an epoll set holds the descriptor: adding what is there fails (epoll_ctl(2)),
 * adding what is not is undone at once. */
enum tp_answer tp_sets_is_member(int epfd, int fd);

#endif
