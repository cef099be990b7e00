/* SPDX-License-Identifier: MIT */
#include "pass.h"

#include "admit.h"
#include "events.h"
#include "place.h"
#include "real.h"
#include "room.h"
#include "sets.h"
#include "share.h"

/* It can only be refused; unless its last byte has come just now, which is too late. */
static void end_late(const struct tp_policy *policy, struct tp_place *place)
{
	tp_admit_again(policy, &place->connection, (struct tp_news){.expired = true});
	tp_place_reset(place);
}

static struct tp_passed to_pass(const struct tp_place *place)
{
	return (struct tp_passed){
		.fd = place->connection.fd,
		.arrived_ms = place->connection.arrived_ms,
		.deadline_ms = place->connection.deadline_ms,
		.seen = (uint32_t)place->connection.seen,
		.need = (uint32_t)place->connection.need,
		.headers = place->connection.headers,
		.usual_low_water = place->usual_low_water,
	};
}

/* The places of a listener, BUSY, as they are passed on; up to TP_PASSED_MAX. */
static size_t collect(const struct tp_policy *policy, uint64_t key,
		      struct tp_place **collected, struct tp_passed *passed)
{
	struct tp_place *place = NULL;
	size_t n = 0;
	while (n < TP_PASSED_MAX && (place = tp_place_next(place))) {
		if (atomic_load(&place->key) != key || !tp_place_claim(place))
			continue;
		if (!tp_place_is_ours(place)) {
			tp_place_leave(place);
		} else if (tp_admit_is_late(&place->connection)) {
			end_late(policy, place);
		} else {
			collected[n] = place;
			passed[n++] = to_pass(place);
		}
	}
	return n;
}

bool tp_pass_on(const struct tp_policy *policy, int listener)
{
	struct tp_place *collected[TP_PASSED_MAX];
	struct tp_passed passed[TP_PASSED_MAX];
	uint64_t key = tp_socket_key(listener);
	size_t count;
	if (!key || tp_share_door(key) < 0)
		return false;
	while ((count = collect(policy, key, collected, passed))) {
		bool sent = tp_share_put(key, passed, count);
		for (size_t i = 0; i < count; i++)
			if (sent)
				tp_place_let_go(collected[i]);
			else
				tp_place_release(collected[i]);
		if (!sent)
			return false;
	}
	return true;
}

/*
 * One that its sender has reset is not connected any more, but the kernel still tells who
 * that was, to a caller who asks for just as many bytes (SO_PEERNAME). 0: it does not.
 */
static socklen_t get_sender(int fd, union tp_sockaddr *sender)
{
	socklen_t len = sizeof *sender;
	if (!tp_real()->getpeername(fd, &sender->any, &len))
		return len;
	len = sizeof sender->in6;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERNAME, sender, &len))
		return len;
	len = sizeof sender->in;
	return getsockopt(fd, SOL_SOCKET, SO_PEERNAME, sender, &len) ? 0 : len;
}

/* Nothing is known of it but what the kernel says, and how it was waited for. */
static struct tp_connection as_connection(int listener, const struct tp_passed *passed)
{
	struct tp_connection connection = {
		.fd = passed->fd,
		.headers = passed->headers,
		.arrived_ms = passed->arrived_ms,
		.deadline_ms = passed->deadline_ms,
		.seen = passed->seen,
		.need = passed->need,
	};
	connection.sender_len = get_sender(connection.fd, &connection.sender);
	tp_event_arrived(&connection, listener);
	tp_event_unparked(&connection);
	return connection;
}

static bool take_in(const struct tp_policy *policy, uint64_t key, struct tp_room *room,
		    struct tp_connection *connection, const struct tp_passed *passed)
{
	struct tp_place *place = tp_place_take(policy, key, connection);
	if (!place)
		return false;
	place->usual_low_water = passed->usual_low_water;
	bool pinned = tp_room_pin(room);
	if (pinned && tp_admit_resume(policy, &place->connection) &&
	    tp_place_move_in(place, room)) {
		tp_place_release(place);
		return true;
	}
	tp_place_leave(place);
	if (pinned)
		tp_room_unpin(room);
	return false;
}

/* Its sender has reset it meanwhile, or there is no place for it. */
static enum tp_reason find_reason(const struct tp_policy *policy,
				  const struct tp_connection *connection)
{
	if (!connection->sender_len)
		return connection->seen ? TP_REASON_CUT : TP_REASON_PROBE;
	return tp_place_is_full(policy) ? TP_REASON_EVICTED : TP_REASON_NO_PLACE;
}

bool tp_pass_gather(const struct tp_policy *policy, int listener, size_t batches)
{
	struct tp_passed passed[TP_PASSED_MAX];
	uint64_t key = tp_socket_key(listener);
	struct tp_room *room = NULL;
	size_t count, all = 0;
	for (; batches && (count = tp_share_get(key, passed)); batches--) {
		if (!room)
			room = tp_place_room(key, passed[0].deadline_ms);
		for (size_t i = 0; i < count; i++) {
			struct tp_connection connection =
				as_connection(listener, &passed[i]);
			if (!room || !connection.sender_len ||
			    !take_in(policy, key, room, &connection, &passed[i]))
				tp_admit_turn_away(&connection,
						   find_reason(policy, &connection));
		}
		all += count;
	}
	if (room) {
		if (tp_sets_attach(atomic_load(&room->epfd), listener, key, false) < 0)
			tp_place_abandon(room); /* nobody would learn of them */
		tp_room_unpin(room);
	}
	return all;
}
