/* SPDX-License-Identifier: MIT */
#include "park.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/select.h>

#include "admit.h"
#include "clock.h"
#include "events.h"
#include "owner.h"
#include "place.h"
#include "real.h"
#include "room.h"
#include "sets.h"

#define STALLED_MS 20 /* until a look at one the kernel cannot wait for */

/* Nobody would learn of it; if nobody has. */
static bool take_back(uint64_t ticket, struct tp_room *room,
		      struct tp_connection *connection)
{
	struct tp_place *place = tp_place_claim_ticket(ticket, room);
	return place && tp_place_hand_out(place, connection);
}

enum tp_parked tp_park(const struct tp_policy *policy, int listener,
		       struct tp_connection *connection, bool search)
{
	uint64_t key = tp_socket_key(listener);
	/* Without a clock its time would never be over. */
	struct tp_place *place =
		key && tp_clock_ms() ? tp_place_take(policy, key, connection) : NULL;
	if (!place)
		return TP_PARKED_NOT;
	struct tp_room *room = tp_place_room(key, connection->deadline_ms);
	if (!room || !tp_place_move_in(place, room)) {
		tp_place_leave(place);
		if (room)
			tp_room_unpin(room);
		return TP_PARKED_NOT;
	}
	uint64_t ticket = tp_place_ticket(place);
	bool pinned = tp_room_pin(room);
	tp_place_release(place);
	/* Last, so that the sets look at a room that is as it will be. */
	int sets = tp_sets_attach(atomic_load(&room->epfd), listener, key, search);
	bool back = sets < 0 && take_back(ticket, room, connection);
	if (pinned)
		tp_room_unpin(room);
	return back ? TP_PARKED_NOT : sets > 0 ? TP_PARKED_IN_SET : TP_PARKED;
}

/*
 * Where the kernel cannot wait for as many bytes (SO_RCVLOWAT is bounded by the receive
 * buffer), a look now and then takes the place of its news.
 */
static void wait_on(struct tp_place *place, size_t seen_before)
{
	const struct tp_connection *connection = &place->connection;
	bool stalled = connection->seen && connection->seen == seen_before &&
		       place->low_water == (int)connection->need;
	int64_t alarm = connection->deadline_ms, soon = tp_clock_ms() + STALLED_MS;
	tp_place_set_low_water(place, (int)connection->need);
	if (stalled != place->stalled)
		tp_place_watch(place, stalled ? EPOLLRDHUP : EPOLLIN | EPOLLRDHUP);
	place->stalled = stalled;
	if (stalled && soon < alarm)
		alarm = soon;
	atomic_store(&place->alarm_ms, alarm);
	tp_room_hurry_alarm(atomic_load(&place->room), alarm);
	tp_place_release(place);
}

/* Decides on the connection of a BUSY place; true when it is *out now. */
static bool decide(const struct tp_policy *policy, struct tp_place *place,
		   struct tp_news news, struct tp_connection *out)
{
	size_t seen = place->connection.seen;
	if (!tp_place_is_ours(place)) {
		tp_place_leave(place);
		return false;
	}
	switch (tp_admit_again(policy, &place->connection, news)) {
	case TP_WAITING:
		wait_on(place, seen);
		return false;
	case TP_REFUSED:
		tp_place_reset(place);
		return false;
	case TP_ADMITTED:
		break;
	}
	return tp_place_hand_out(place, out);
}

static bool look_at_late(const struct tp_policy *policy, struct tp_room *room,
			 struct tp_place *place, int64_t now, struct tp_connection *out)
{
	if (!tp_place_claim(place))
		return false;
	if (tp_place_is_in(place, room)) {
		bool expired = place->connection.deadline_ms <= now;
		return decide(policy, place, (struct tp_news){.expired = expired}, out);
	}
	tp_place_release(place);
	return false;
}

/* Looks at those whose time has come, ends those whose time is over; sets the next alarm.
 */
static bool expire(const struct tp_policy *policy, struct tp_room *room,
		   struct tp_connection *out)
{
	struct tp_place *place = NULL;
	int64_t now = tp_clock_ms(),
		next = now + 1000; /* for one that is just coming in */
	bool found = false;
	while ((place = tp_place_next(place))) {
		int64_t alarm = atomic_load(&place->alarm_ms);
		if (!tp_place_is_in(place, room))
			continue;
		if (!found && alarm <= now) {
			found = look_at_late(policy, room, place, now, out);
			alarm = atomic_load(&place->alarm_ms);
		}
		if (alarm < next)
			next = alarm;
	}
	if (now)
		tp_room_set_alarm(room, next);
	else
		atomic_store(&room->broken, true);
	return found;
}

static bool look_at(const struct tp_policy *policy, struct tp_room *room,
		    const struct epoll_event *event, struct tp_connection *out)
{
	struct tp_place *place = tp_place_claim_ticket(event->data.u64, room);
	bool ended = event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	return place && decide(policy, place, (struct tp_news){.ended = ended}, out);
}

/* The timer, which comes first: there may always be others who are ready. */
static bool has_rung(const struct epoll_event *events, int count)
{
	for (int i = 0; i < count; i++)
		if (events[i].data.u64 == TP_ROOM_TIMER)
			return true;
	return false;
}

/*
 * Goes through the news of a pinned room until there are none, so that a thread which
 * looked at the same moment and left a connection to us has not done so in vain.
 */
static bool settle(const struct tp_policy *policy, struct tp_room *room,
		   struct tp_connection *out)
{
	struct epoll_event events[16];
	bool sound = tp_room_is_sound(room);
	for (int rounds = 0; sound && rounds < 64; rounds++) {
		int n = tp_room_news(room, events, 16);
		if (has_rung(events, n) && expire(policy, room, out))
			return true;
		for (int i = 0; i < n; i++)
			if (events[i].data.u64 != TP_ROOM_TIMER &&
			    look_at(policy, room, &events[i], out))
				return true;
		sound = !atomic_load(&room->broken);
		if (n <= 0)
			break;
	}
	if (!sound)
		tp_place_abandon(room);
	return false;
}

/* accept gives the lowest number there is; one that select has no bit for may be the end
 * of the program. */
static bool bring_back(struct tp_connection *connection)
{
	int high = connection->fd, low = fcntl(high, F_DUPFD_CLOEXEC, 0);
	if (low < 0 && high >= FD_SETSIZE) {
		tp_event(connection, TP_OUTCOME_REJECTED, TP_REASON_FAILED, NULL);
		tp_admit_reset(high);
		return false;
	}
	if (low >= 0 && low < high)
		connection->fd = low;
	if (low >= 0)
		tp_real()->close(low < high ? high : low);
	return true;
}

bool tp_park_take(const struct tp_policy *policy, int listener,
		  struct tp_connection *connection)
{
	uint64_t key = tp_socket_key(listener);
	size_t index = 0;
	struct tp_room *room;
	if (!key)
		tp_park_close(listener);
	while (key && (room = tp_room_next(key, &index))) {
		bool found = settle(policy, room, connection);
		tp_room_unpin(room);
		if (found && bring_back(connection))
			return true;
	}
	return false;
}

/* Everybody goes where the kernel does not tell any more whose they are (seccomp(2)). */
void tp_park_close(int listener)
{
	struct tp_place *place = NULL;
	uint64_t key = tp_socket_key(listener);
	if (!key && (errno == EBADF || errno == ENOTSOCK))
		return;
	while ((place = tp_place_next(place)))
		if ((!key || atomic_load(&place->key) == key) && tp_place_claim(place))
			tp_place_refuse(place, TP_REASON_DROPPED);
}

void tp_park_forked(void)
{
	if (tp_room_any()) {
		tp_place_forked();
		tp_room_forked();
	}
	tp_owner_settle();
}

void tp_park_settle(void)
{
	if (tp_owner_is_copy())
		tp_park_forked();
}
