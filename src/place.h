/* SPDX-License-Identifier: MIT */
/*
 * The places of parked connections: one table for all rooms (room.h) of the process.
 *
 * A place is FREE, PARKED, or BUSY; whoever has made it BUSY owns the rest of it. The
 * descriptor in it is close-on-exec, out of the program's way, and recognised before use:
 * the program may have closed it.
 *
 * All functions are safe in threads and forked children, use no lock, and do not wait.
 * errno is not kept.
 */
#ifndef TP_PLACE_H
#define TP_PLACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "connection.h"
#include "outcome.h"
#include "policy.h"
#include "room.h"

struct tp_place {
	_Atomic uint32_t state;
	_Atomic(struct tp_room *) room;
	_Atomic uint64_t key;	/* of the listener */
	_Atomic uint64_t order; /* by arrival; grows from one connection to the next */
	_Atomic int64_t
		alarm_ms;    /* when to look without news; TP_NEVER: nobody is parked */
	uint32_t generation; /* counts the connections that were here */
	uint64_t connection_key;	/* to recognise the descriptor */
	int usual_low_water, low_water; /* SO_RCVLOWAT: the program's, and now */
	bool stalled;			/* the alarm looks after it */
	struct tp_connection connection;
};

enum { TP_PLACE_FREE, TP_PLACE_BUSY, TP_PLACE_PARKED };

/* The place after this one (NULL: the first) that is not FREE, or NULL. */
struct tp_place *tp_place_next(const struct tp_place *place);

/* Makes a PARKED place BUSY; false when it is not, or not any more. */
bool tp_place_claim(struct tp_place *place);

/* The same for the one that news of the room are about; NULL when they are old. */
struct tp_place *tp_place_claim_ticket(uint64_t ticket, const struct tp_room *room);

/* It goes on waiting. */
void tp_place_release(struct tp_place *place);

static inline bool tp_place_is_in(struct tp_place *place, const struct tp_room *room)
{
	return atomic_load(&place->room) == room;
}

/*
 * A BUSY place for the connection, which gets another descriptor, or NULL. Whoever has
 * waited longest goes when there is none; NULL if that is the connection itself.
 */
struct tp_place *tp_place_take(const struct tp_policy *policy, uint64_t listener_key,
			       struct tp_connection *connection);

/* Whether somebody would have to go. */
bool tp_place_is_full(const struct tp_policy *policy);

/*
 * The listener's room, pinned, or NULL where it cannot be had. Connections in one that
 * is broken are reset.
 */
struct tp_room *tp_place_room(uint64_t listener_key, int64_t alarm_ms);
void tp_place_abandon(struct tp_room *room);

/* Into the room, which is pinned for it; it is still BUSY. False when that failed. */
bool tp_place_move_in(struct tp_place *place, struct tp_room *room);

/* Epoll data for the connection that is in the place now: its number and generation. */
uint64_t tp_place_ticket(const struct tp_place *place);

/* What news of it the room tells (epoll_ctl(2)), and from how many bytes on. */
void tp_place_watch(struct tp_place *place, uint32_t events);
bool tp_place_set_low_water(struct tp_place *place, int bytes);

/* Whether the descriptor is still the connection's. */
bool tp_place_is_ours(const struct tp_place *place);

/*
 * A BUSY place becomes FREE, and its room is perhaps closed. The connection
 *   leave      is gone, or still the caller's,
 *   hand_out   is the caller's, as the program expects it; false: it is refused,
 *   let_go     goes on waiting somewhere else: the descriptor is closed,
 *   reset      has been refused,
 *   refuse     is refused for this reason, if it is still there.
 */
void tp_place_leave(struct tp_place *place);
bool tp_place_hand_out(struct tp_place *place, struct tp_connection *connection);
void tp_place_let_go(struct tp_place *place);
void tp_place_reset(struct tp_place *place);
void tp_place_refuse(struct tp_place *place, enum tp_reason reason);

/* In a child after fork: closes the copies. */
void tp_place_forked(void);

#endif
