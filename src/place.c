/* SPDX-License-Identifier: MIT */
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "admit.h"
#include "clock.h"
#include "events.h"
#include "owner.h"
#include "real.h"
#include "sets.h"

#define ASIDE 2048 /* the lowest number of a parked descriptor */

static _Atomic(struct tp_place *) places;
static atomic_size_t place_count;
static _Atomic uint64_t arrivals;

static bool claim(struct tp_place *place, uint32_t from)
{
	return atomic_load_explicit(&place->state, memory_order_relaxed) == from &&
	       atomic_compare_exchange_strong(&place->state, &from, TP_PLACE_BUSY);
}

static void release(struct tp_place *place, uint32_t to)
{
	atomic_store_explicit(&place->state, to, memory_order_release);
}

bool tp_place_claim(struct tp_place *place)
{
	return claim(place, TP_PLACE_PARKED);
}

void tp_place_release(struct tp_place *place)
{
	release(place, TP_PLACE_PARKED);
}

struct tp_place *tp_place_next(const struct tp_place *place)
{
	struct tp_place *all = atomic_load(&places);
	size_t index = place ? (size_t)(place - all) + 1 : 0;
	for (; index < atomic_load(&place_count); index++)
		if (atomic_load(&all[index].state) != TP_PLACE_FREE)
			return &all[index];
	return NULL;
}

uint64_t tp_place_ticket(const struct tp_place *place)
{
	return (uint64_t)place->generation << 32 |
	       (uint64_t)(place - atomic_load(&places));
}

struct tp_place *tp_place_claim_ticket(uint64_t ticket, const struct tp_room *room)
{
	size_t index = ticket & UINT32_MAX;
	if (index >= atomic_load(&place_count))
		return NULL;
	struct tp_place *place = &atomic_load(&places)[index];
	if (!tp_place_claim(place))
		return NULL;
	if (tp_place_is_in(place, room) && tp_place_ticket(place) == ticket)
		return place;
	tp_place_release(place);
	return NULL;
}

/* The table. */

static size_t wanted_places(const struct tp_policy *policy)
{
	struct rlimit limit;
	size_t wanted = policy->max_pending;
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 4 < wanted)
		wanted = (size_t)limit.rlim_cur / 4;
	return wanted ? wanted : 1;
}

static struct tp_place *get_places(const struct tp_policy *policy)
{
	struct tp_place *made = atomic_load(&places), *none = NULL;
	if (made)
		return made;
	size_t bytes = policy->max_pending * sizeof(struct tp_place);
	made = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (made == MAP_FAILED)
		return NULL;
	atomic_store(&place_count, policy->max_pending);
	if (!atomic_compare_exchange_strong(&places, &none, made)) {
		munmap(made, bytes);
		return none;
	}
	tp_owner_mark();
	return made;
}

bool tp_place_is_full(const struct tp_policy *policy)
{
	return (size_t)atomic_load(&tp_room_count) >= wanted_places(policy);
}

static struct tp_place *find_free(const struct tp_policy *policy)
{
	struct tp_place *all = get_places(policy);
	size_t count = wanted_places(policy);
	if (count > atomic_load(&place_count))
		count = atomic_load(&place_count);
	for (size_t i = 0; all && i < count; i++)
		if (claim(&all[i], TP_PLACE_FREE))
			return &all[i];
	return NULL;
}

/* Goes by when it was first seen, in whatever process that was. */
static uint64_t order_of(const struct tp_connection *connection)
{
	return (uint64_t)connection->arrived_ms << 20 |
	       (atomic_fetch_add(&arrivals, 1) & 0xfffff);
}

/* Unless it came after that. */
static void refuse_oldest(uint64_t lowest)
{
	struct tp_place *oldest = NULL, *place = NULL;
	while ((place = tp_place_next(place))) {
		uint64_t order = atomic_load(&place->order);
		if (atomic_load(&place->state) == TP_PLACE_PARKED && order < lowest) {
			lowest = order;
			oldest = place;
		}
	}
	if (oldest && tp_place_claim(oldest))
		tp_place_refuse(oldest, TP_REASON_EVICTED);
}

/*
 * To a number where it is in nobody's way: programs expect low ones, select needs them.
 * Where there is none it stays where it is.
 */
static int set_aside(int fd)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return fd;
	int lowest = limit.rlim_cur / 2 < ASIDE ? (int)(limit.rlim_cur / 2) : ASIDE;
	int aside = fcntl(fd, F_DUPFD_CLOEXEC, lowest);
	if (aside >= 0)
		tp_real()->close(fd);
	else
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	return aside >= 0 ? aside : fd;
}

/* As the program has it, and as it is now. */
static void ask_low_water(struct tp_place *place)
{
	socklen_t size = sizeof place->usual_low_water;
	place->usual_low_water = 1;
	getsockopt(place->connection.fd, SOL_SOCKET, SO_RCVLOWAT, &place->usual_low_water,
		   &size);
	place->low_water = place->usual_low_water;
}

struct tp_place *tp_place_take(const struct tp_policy *policy, uint64_t listener_key,
			       struct tp_connection *connection)
{
	uint64_t key = tp_socket_key(connection->fd), order = order_of(connection);
	struct tp_place *place = key ? find_free(policy) : NULL;
	if (key && !place && atomic_load(&places)) {
		refuse_oldest(order);
		place = find_free(policy);
	}
	if (!place)
		return NULL;
	connection->fd = set_aside(connection->fd);
	atomic_fetch_add(&tp_room_count, 1);
	atomic_store(&place->key, listener_key);
	atomic_store(&place->order, order);
	atomic_store(&place->alarm_ms, TP_NEVER);
	place->generation++;
	place->connection = *connection;
	place->connection_key = key;
	ask_low_water(place);
	return place;
}

/* In the room. */

void tp_place_watch(struct tp_place *place, uint32_t events)
{
	tp_room_watch(atomic_load(&place->room), EPOLL_CTL_MOD, place->connection.fd,
		      events, tp_place_ticket(place));
}

static void stop_watching(struct tp_place *place)
{
	tp_room_watch(atomic_load(&place->room), EPOLL_CTL_DEL, place->connection.fd, 0,
		      0);
}

static enum tp_answer is_member(const struct tp_place *place)
{
	const struct tp_room *room = atomic_load(&place->room);
	return room ? tp_sets_is_member(atomic_load(&room->epfd), place->connection.fd)
		    : TP_NO;
}

bool tp_place_set_low_water(struct tp_place *place, int bytes)
{
	if (place->low_water == bytes)
		return true;
	place->low_water = bytes;
	return !setsockopt(place->connection.fd, SOL_SOCKET, SO_RCVLOWAT, &bytes,
			   sizeof bytes);
}

bool tp_place_move_in(struct tp_place *place, struct tp_room *room)
{
	struct tp_connection *connection = &place->connection;
	place->stalled = false;
	tp_place_set_low_water(place, (int)connection->need);
	atomic_store(&place->room, room);
	atomic_store(&place->alarm_ms, connection->deadline_ms);
	if (tp_room_watch(room, EPOLL_CTL_ADD, connection->fd, EPOLLIN | EPOLLRDHUP,
			  tp_place_ticket(place)) &&
	    tp_room_hurry_alarm(room, connection->deadline_ms)) {
		tp_event_parked(connection);
		return true;
	}
	stop_watching(place);
	atomic_store(&place->alarm_ms, TP_NEVER);
	tp_place_set_low_water(place, place->usual_low_water);
	return false;
}

void tp_place_abandon(struct tp_room *room)
{
	struct tp_place *place = NULL;
	bool held_ours = false;
	while ((place = tp_place_next(place))) {
		if (!tp_place_is_in(place, room) || !tp_place_claim(place))
			continue;
		held_ours |= tp_place_is_ours(place) && is_member(place) == TP_YES;
		tp_place_refuse(place, TP_REASON_DROPPED);
	}
	tp_room_lose(room, held_ours);
}

struct tp_room *tp_place_room(uint64_t listener_key, int64_t alarm_ms)
{
	size_t index = 0;
	struct tp_room *room;
	while ((room = tp_room_next(listener_key, &index))) {
		if (tp_room_is_sound(room))
			return room;
		tp_place_abandon(room);
		tp_room_unpin(room);
	}
	return tp_room_make(listener_key, alarm_ms);
}

/* Out of it. */

/* Where the socket does not tell, its room does. */
bool tp_place_is_ours(const struct tp_place *place)
{
	uint64_t key = tp_socket_key(place->connection.fd);
	if (key || errno == EBADF || errno == ENOTSOCK)
		return key == place->connection_key;
	return is_member(place) == TP_YES;
}

void tp_place_leave(struct tp_place *place)
{
	struct tp_room *room = atomic_load(&place->room);
	bool parked = atomic_exchange(&place->alarm_ms, TP_NEVER) != TP_NEVER;
	if (parked)
		tp_event_unparked(&place->connection);
	release(place, TP_PLACE_FREE);
	atomic_fetch_sub(&tp_room_count, 1);
	if (parked)
		tp_room_unpin(room);
}

bool tp_place_hand_out(struct tp_place *place, struct tp_connection *connection)
{
	/* It would keep the program from its first bytes. */
	if (!tp_place_set_low_water(place, place->usual_low_water)) {
		tp_place_refuse(place, TP_REASON_FAILED);
		return false;
	}
	stop_watching(place);
	*connection = place->connection;
	tp_place_leave(place);
	return true;
}

void tp_place_let_go(struct tp_place *place)
{
	stop_watching(place);
	tp_real()->close(place->connection.fd);
	tp_event_parked(&place->connection); /* not any less than before */
	tp_place_leave(place);
}

void tp_place_reset(struct tp_place *place)
{
	stop_watching(place);
	tp_admit_reset(place->connection.fd);
	tp_place_leave(place);
}

void tp_place_refuse(struct tp_place *place, enum tp_reason reason)
{
	if (tp_place_is_ours(place)) {
		tp_event(&place->connection, TP_OUTCOME_REJECTED, reason, NULL);
		tp_place_reset(place);
	} else {
		tp_place_leave(place);
	}
}

void tp_place_forked(void)
{
	struct tp_place *place = NULL;
	while ((place = tp_place_next(place))) {
		if (tp_place_is_ours(place))
			tp_real()->close(place->connection.fd);
		atomic_store(&place->alarm_ms, TP_NEVER);
		release(place, TP_PLACE_FREE);
	}
	atomic_store(&tp_room_count, 0);
}
