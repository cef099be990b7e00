/* SPDX-License-Identifier: MIT */
/*
 * Parked connections that belong to nobody in particular.
 *
 * Processes that share a listener each have their own rooms, but one that serves a client
 * now may be deaf to its room for minutes. So a process keeps parked connections only
 * while it waits for the listener; whenever it turns to a client, it puts them back where
 * all the others look: a channel, which is to parked connections what the listener is to
 * new ones. It is a pair of AF_UNIX sockets, made with the listener and inherited with it
 * by fork and exec; the connections travel as descriptors (unix(7), SCM_RIGHTS). As long
 * as any process has the channel they are safe in it.
 *
 * What comes out of a channel is looked at like a new connection: of what is told with
 * it, nothing but the deadline is believed.
 *
 * All functions are safe in threads, signal handlers and forked children, use no lock and
 * do not wait. errno is not kept. `key` is the listener's tp_socket_key.
 */
#ifndef TP_SHARE_H
#define TP_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A parked connection on its way. */
struct tp_passed {
	/* tp_clock_ms, which all processes of a system share */
	int64_t arrived_ms, deadline_ms;
	uint32_t seen, need; /* bytes of the header that are there; to look again at */
	uint32_t headers; /* tp_connection's; what they said is on the socket (peer.h) */
	int32_t usual_low_water; /* SO_RCVLOWAT, as the program has it */
	int32_t fd;
	int32_t unused; /* or the bytes up to the struct's end would be of the stack */
};

#define TP_PASSED_MAX 64 /* at once */

extern atomic_int tp_share_count;

/* Whether other processes may have a listener of this one's, too: one relaxed load. */
static inline bool tp_share_any(void)
{
	return atomic_load_explicit(&tp_share_count, memory_order_relaxed) > 0;
}

/* Makes the channel of a listener that has none yet. */
void tp_share_make(int listener);

/* The descriptor that is readable while connections are in the channel; -1: none. It may
 * be somebody else's by now: good for a look, not for more. */
int tp_share_door(uint64_t key);

/* The same, made sure of. */
int tp_share_own_door(uint64_t key);

/* The listener is gone from the process that made its channel. Forked children leave
 * theirs be: to find out whether they have the listener twice takes time. */
bool tp_share_is_made_here(uint64_t key);
void tp_share_close(uint64_t key);

/* All of them or none; the caller still has its descriptors and closes them. */
bool tp_share_put(uint64_t key, const struct tp_passed *passed, size_t count);

/* Up to TP_PASSED_MAX of them, whose descriptors are the caller's now, close-on-exec. */
size_t tp_share_get(uint64_t key, struct tp_passed *passed);

/* Before and after fork, in the parent: from now on there are others. */
void tp_share_forked(void);

/*
 * Around exec, also in a child of vfork: channels go along with the listeners that do.
 * At the start of a program: takes over what came along.
 */
void tp_share_before_exec(void);
void tp_share_exec_failed(void);
void tp_share_adopt(void);

#endif
