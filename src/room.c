/* SPDX-License-Identifier: MIT */
#include "room.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"
#include "events.h"
#include "real.h"
#include "sets.h"
#include "share.h"

#define ROOMS 256
#define ASIDE 2048	 /* the lowest number of a parked descriptor */
#define STALLED_MS 20	 /* until a look at one the kernel cannot wait for */
#define TIMER UINT64_MAX /* epoll data; the others are tickets */

/* A place for one connection. Whoever has made it BUSY owns the rest of it. */
struct place {
	_Atomic uint32_t state;
	_Atomic uint32_t room;	/* an index of rooms */
	_Atomic uint64_t key;	/* of the listener */
	_Atomic uint64_t order; /* grows from one connection to the next */
	_Atomic int64_t
		alarm_ms;    /* when to look without news; TP_NEVER: nobody is parked */
	uint32_t generation; /* counts the connections that were here */
	uint64_t connection_key; /* to recognise the descriptor */
	int usual_low_water, low_water;
	bool stalled; /* the alarm looks after it */
	struct tp_connection connection;
};

enum { FREE, BUSY, PARKED };

/*
 * A room is there while somebody uses it: each parked connection and each thread that
 * looks at it counts for one. The last one out closes it.
 */
struct room {
	_Atomic uint32_t users; /* 0: no room; CLOSING: on its way there */
	_Atomic uint64_t key;	/* of the listener; 0 while the room is being made */
	atomic_int epfd, timer;
	_Atomic int64_t alarm_ms; /* what the timer is set to */
};

#define CLOSING 0x80000000u

atomic_int tp_room_count;
static struct room rooms[ROOMS];
static _Atomic(struct place *) places;
static atomic_size_t place_count;
static _Atomic uint64_t arrivals;
/* The pid of the process the rooms belong to, on a page that fork and clone wipe. */
static _Atomic(_Atomic pid_t *) owner;

static bool claim(struct place *place, uint32_t from)
{
	return atomic_load_explicit(&place->state, memory_order_relaxed) == from &&
	       atomic_compare_exchange_strong(&place->state, &from, BUSY);
}

static void release(struct place *place, uint32_t to)
{
	atomic_store_explicit(&place->state, to, memory_order_release);
}

/* Epoll data for the connection that is in the place now: its number and its generation.
 */
static uint64_t ticket(const struct place *place)
{
	return (uint64_t)place->generation << 32 |
	       (uint64_t)(place - atomic_load(&places));
}

/* Descriptors. */

static void watch(int epfd, int fd, uint32_t events, uint64_t data, int op)
{
	struct epoll_event event = {.events = events};
	event.data.u64 = data;
	tp_real()->epoll_ctl(epfd, op, fd, &event);
}

static bool add(int epfd, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events};
	event.data.u64 = data;
	return !tp_real()->epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
}

/*
 * The interval that a timer of ours has, and nobody else's: the timer is set anew long
 * before it is over, so its length is free to tell whose the timer is.
 */
static struct timespec signature(const struct room *room)
{
	return (struct timespec){.tv_sec = 100000000 + (time_t)(room - rooms),
				 .tv_nsec = 271828182};
}

static void set_alarm(struct room *room, int64_t at_ms)
{
	struct itimerspec alarm = {signature(room), tp_clock_timespec(at_ms * 1000000)};
	atomic_store(&room->alarm_ms, at_ms);
	timerfd_settime(atomic_load(&room->timer), TFD_TIMER_ABSTIME, &alarm, NULL);
}

/* Whether the room's descriptors are still ours: its timer is, and is in its epoll set.
 */
static bool is_ours(const struct room *room)
{
	const struct timespec wanted = signature(room);
	struct itimerspec alarm;
	int epfd = atomic_load(&room->epfd), timer = atomic_load(&room->timer);
	return epfd >= 0 && !timerfd_gettime(timer, &alarm) &&
	       alarm.it_interval.tv_sec == wanted.tv_sec &&
	       alarm.it_interval.tv_nsec == wanted.tv_nsec && tp_sets_is_member(epfd, timer);
}

static void set_low_water(struct place *place, int bytes)
{
	if (place->low_water == bytes)
		return;
	setsockopt(place->connection.fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
	place->low_water = bytes;
}

/* Rooms. */

static bool pin(struct room *room)
{
	uint32_t users = atomic_load(&room->users);
	while (users && users < CLOSING)
		if (atomic_compare_exchange_weak(&room->users, &users, users + 1))
			return true;
	return false;
}

static void close_descriptors(struct room *room)
{
	tp_real()->close(atomic_load(&room->epfd));
	tp_real()->close(atomic_load(&room->timer));
}

static void clear(struct room *room)
{
	atomic_store(&room->epfd, -1);
	atomic_store(&room->timer, -1);
	atomic_store(&room->key, 0);
	atomic_store(&room->users, 0);
}

static void unpin(struct room *room)
{
	uint32_t users = atomic_load(&room->users);
	while (!atomic_compare_exchange_weak(&room->users, &users,
					     users == 1 ? CLOSING : users - 1))
		;
	if (users != 1)
		return;
	if (is_ours(room)) {
		/* Copies that somebody else may hold shall wake nobody. */
		watch(atomic_load(&room->epfd), atomic_load(&room->timer), 0, 0,
		      EPOLL_CTL_DEL);
		close_descriptors(room);
	}
	clear(room);
}

/* The next room of the listener from *index on, pinned. */
static struct room *next_room(uint64_t key, size_t *index)
{
	while (*index < ROOMS) {
		struct room *room = &rooms[(*index)++];
		if (atomic_load(&room->key) != key || !pin(room))
			continue;
		if (atomic_load(&room->key) == key)
			return room;
		unpin(room);
	}
	return NULL;
}

static bool furnish(struct room *room, int64_t alarm_ms)
{
	int epfd = epoll_create1(EPOLL_CLOEXEC);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (epfd >= 0 && timer >= 0 && add(epfd, timer, EPOLLIN, TIMER)) {
		atomic_store(&room->epfd, epfd);
		atomic_store(&room->timer, timer);
		set_alarm(room, alarm_ms);
		return true;
	}
	if (epfd >= 0)
		tp_real()->close(epfd);
	if (timer >= 0)
		tp_real()->close(timer);
	return false;
}

/* Pinned, like next_room. */
static struct room *make_room(uint64_t key, int64_t alarm_ms)
{
	for (size_t i = 0; i < ROOMS; i++) {
		uint32_t nobody = 0;
		if (!atomic_compare_exchange_strong(&rooms[i].users, &nobody, 1))
			continue;
		if (furnish(&rooms[i], alarm_ms)) {
			atomic_store(&rooms[i].key, key);
			return &rooms[i];
		}
		clear(&rooms[i]);
		return NULL;
	}
	return NULL;
}

static struct room *room_of(struct place *place)
{
	return &rooms[atomic_load(&place->room)];
}

static bool is_in(struct place *place, const struct room *room)
{
	return &rooms[atomic_load(&place->room)] == room;
}

/* Places. */

static size_t wanted_places(const struct tp_policy *policy)
{
	struct rlimit limit;
	size_t wanted = policy->max_pending;
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 4 < wanted)
		wanted = (size_t)limit.rlim_cur / 4;
	return wanted ? wanted : 1;
}

void tp_room_mark_owner(void)
{
	if (atomic_load(&owner))
		return;
	size_t bytes = sizeof(pid_t);
	_Atomic pid_t *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	if (madvise((void *)page, bytes, MADV_WIPEONFORK)) { /* Linux 4.14 */
		munmap((void *)page, bytes);
		return;
	}
	atomic_store(page, getpid());
	atomic_store(&owner, page);
}

bool tp_room_is_copy(void)
{
	_Atomic pid_t *page = atomic_load(&owner);
	return page && !atomic_load(page);
}

bool tp_room_is_borrowed(void)
{
	_Atomic pid_t *page = atomic_load(&owner);
	return page && atomic_load(page) && atomic_load(page) != getpid();
}

static struct place *get_places(const struct tp_policy *policy)
{
	struct place *made = atomic_load(&places), *none = NULL;
	if (made)
		return made;
	size_t bytes = policy->max_pending * sizeof(struct place);
	made = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (made == MAP_FAILED)
		return NULL;
	atomic_store(&place_count, policy->max_pending);
	if (!atomic_compare_exchange_strong(&places, &none, made)) {
		munmap(made, bytes);
		return none;
	}
	tp_room_mark_owner();
	return made;
}

/* The place is empty: its connection has been handed over or ended, or was never there.
 */
static void leave(struct place *place)
{
	struct room *room = room_of(place);
	bool parked = atomic_exchange(&place->alarm_ms, TP_NEVER) != TP_NEVER;
	if (parked)
		tp_event_unparked(&place->connection);
	release(place, FREE);
	atomic_fetch_sub(&tp_room_count, 1);
	if (parked)
		unpin(room);
}

static void refuse(struct place *place)
{
	watch(atomic_load(&room_of(place)->epfd), place->connection.fd, 0, 0,
	      EPOLL_CTL_DEL);
	tp_admit_reset(place->connection.fd);
	leave(place);
}

static void refuse_because(struct place *place, enum tp_reason reason)
{
	tp_event(&place->connection, TP_OUTCOME_REJECTED, reason, NULL);
	refuse(place);
}

static bool is_our_connection(const struct place *place)
{
	return tp_socket_key(place->connection.fd) == place->connection_key;
}

/* Makes room where there are too many: whoever has waited longest goes. */
static void refuse_oldest(void)
{
	struct place *all = atomic_load(&places), *oldest = NULL;
	uint64_t lowest = UINT64_MAX;
	for (size_t i = 0; i < atomic_load(&place_count); i++) {
		uint64_t order = atomic_load(&all[i].order);
		if (atomic_load(&all[i].state) == PARKED && order < lowest) {
			lowest = order;
			oldest = &all[i];
		}
	}
	if (!oldest || !claim(oldest, PARKED))
		return;
	if (is_our_connection(oldest))
		refuse_because(oldest, TP_REASON_EVICTED);
	else
		leave(oldest);
}

static struct place *find_free(const struct tp_policy *policy)
{
	struct place *all = get_places(policy);
	size_t count = wanted_places(policy);
	if (count > atomic_load(&place_count))
		count = atomic_load(&place_count);
	for (size_t i = 0; all && i < count; i++)
		if (claim(&all[i], FREE))
			return &all[i];
	return NULL;
}

/* A place for the connection, BUSY and counted, or NULL. */
static struct place *take_place(const struct tp_policy *policy, uint64_t listener_key,
				const struct tp_connection *connection)
{
	struct place *place = find_free(policy);
	if (!place && atomic_load(&places)) {
		refuse_oldest();
		place = find_free(policy);
	}
	if (!place)
		return NULL;
	atomic_fetch_add(&tp_room_count, 1);
	atomic_store(&place->key, listener_key);
	atomic_store(&place->alarm_ms, TP_NEVER);
	place->generation++;
	place->connection = *connection;
	place->connection_key = tp_socket_key(connection->fd);
	return place;
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

/* accept gives the lowest number there is. */
static int bring_back(int fd)
{
	int low = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (low < 0)
		return fd;
	tp_real()->close(low < fd ? fd : low);
	return low < fd ? low : fd;
}

/* As the program has it, and as it is now. */
static void ask_low_water(struct place *place)
{
	socklen_t size = sizeof place->usual_low_water;
	place->usual_low_water = 1;
	getsockopt(place->connection.fd, SOL_SOCKET, SO_RCVLOWAT, &place->usual_low_water,
		   &size);
	place->low_water = place->usual_low_water;
}

static bool move_in(struct place *place, struct room *room)
{
	struct tp_connection *connection = &place->connection;
	int epfd = atomic_load(&room->epfd);
	place->stalled = false;
	set_low_water(place, (int)connection->need);
	atomic_store(&place->room, (uint32_t)(room - rooms));
	if (!add(epfd, connection->fd, EPOLLIN | EPOLLRDHUP, ticket(place))) {
		set_low_water(place, place->usual_low_water);
		return false;
	}
	atomic_store(&place->order, atomic_fetch_add(&arrivals, 1));
	atomic_store(&place->alarm_ms, connection->deadline_ms);
	if (connection->deadline_ms < atomic_load(&room->alarm_ms))
		set_alarm(room, connection->deadline_ms);
	tp_event_parked(connection);
	return true;
}

/* Somebody closed the room's descriptors: nobody would be told of its connections any
 * more. */
static void abandon(struct room *room)
{
	struct place *all = atomic_load(&places);
	atomic_store(&room->epfd, -1);
	atomic_store(&room->timer, -1);
	for (size_t i = 0; i < atomic_load(&place_count); i++) {
		if (!is_in(&all[i], room) || !claim(&all[i], PARKED))
			continue;
		if (is_our_connection(&all[i])) {
			tp_event(&all[i].connection, TP_OUTCOME_REJECTED,
				 TP_REASON_DROPPED, NULL);
			tp_admit_reset(all[i].connection.fd);
		}
		leave(&all[i]);
	}
}

/* Pinned, like next_room, and still ours; NULL where it cannot be had. */
static struct room *get_room(uint64_t key, int64_t alarm_ms)
{
	size_t index = 0;
	struct room *room;
	while ((room = next_room(key, &index))) {
		if (is_ours(room))
			return room;
		abandon(room);
		unpin(room);
	}
	return make_room(key, alarm_ms);
}

enum tp_parked tp_room_park(const struct tp_policy *policy, int listener,
			    struct tp_connection *connection, bool search)
{
	uint64_t key = tp_socket_key(listener);
	connection->fd = set_aside(connection->fd);
	struct place *place = key ? take_place(policy, key, connection) : NULL;
	if (!place)
		return TP_PARKED_NOT;
	struct room *room = get_room(key, connection->deadline_ms);
	ask_low_water(place);
	if (!room || !move_in(place, room)) {
		leave(place);
		if (room)
			unpin(room);
		return TP_PARKED_NOT;
	}
	bool pinned = pin(room);
	release(place, PARKED);
	/* Last, so that the sets look at a room that is as it will be. */
	bool in_set = tp_sets_attach(atomic_load(&room->epfd), listener, key, search);
	if (pinned)
		unpin(room);
	return in_set ? TP_PARKED_IN_SET : TP_PARKED;
}

/*
 * Where the kernel cannot wait for as many bytes (SO_RCVLOWAT is bounded by the receive
 * buffer), a look now and then takes the place of its news.
 */
static void wait_on(struct place *place, size_t seen_before)
{
	const struct tp_connection *connection = &place->connection;
	struct room *room = room_of(place);
	bool stalled = connection->seen && connection->seen == seen_before &&
		       place->low_water == (int)connection->need;
	int64_t alarm = connection->deadline_ms, soon = tp_clock_ms() + STALLED_MS;
	set_low_water(place, (int)connection->need);
	if (stalled != place->stalled)
		watch(atomic_load(&room->epfd), connection->fd,
		      stalled ? EPOLLRDHUP : EPOLLIN | EPOLLRDHUP, ticket(place),
		      EPOLL_CTL_MOD);
	place->stalled = stalled;
	if (stalled && soon < alarm)
		alarm = soon;
	atomic_store(&place->alarm_ms, alarm);
	if (alarm < atomic_load(&room->alarm_ms))
		set_alarm(room, alarm);
	release(place, PARKED);
}

/* Decides on the connection of a BUSY place; true when it is *out now. */
static bool decide(const struct tp_policy *policy, struct place *place,
		   struct tp_news news, struct tp_connection *out)
{
	size_t seen = place->connection.seen;
	if (!is_our_connection(place)) {
		leave(place);
		return false;
	}
	switch (tp_admit_again(policy, &place->connection, news)) {
	case TP_WAITING:
		wait_on(place, seen);
		return false;
	case TP_REFUSED:
		refuse(place);
		return false;
	case TP_ADMITTED:
		break;
	}
	watch(atomic_load(&room_of(place)->epfd), place->connection.fd, 0, 0,
	      EPOLL_CTL_DEL);
	set_low_water(place, place->usual_low_water);
	*out = place->connection;
	leave(place);
	return true;
}

/* Looks at those whose time has come, ends those whose time is over; sets the next alarm.
 */
static bool expire(const struct tp_policy *policy, struct room *room,
		   struct tp_connection *out)
{
	struct place *all = atomic_load(&places);
	int64_t now = tp_clock_ms(),
		next = now + 1000; /* for one that is just coming in */
	bool found = false;
	for (size_t i = 0; i < atomic_load(&place_count); i++) {
		struct place *place = &all[i];
		int64_t alarm = atomic_load(&place->alarm_ms);
		if (!is_in(place, room) || atomic_load(&place->state) == FREE)
			continue;
		if (!found && alarm <= now && claim(place, PARKED)) {
			struct tp_news news = {.expired = place->connection.deadline_ms <=
							  now};
			if (is_in(place, room))
				found = decide(policy, place, news, out);
			else
				release(place, PARKED);
			alarm = atomic_load(&place->alarm_ms);
		}
		if (alarm < next && atomic_load(&place->state) != FREE)
			next = alarm;
	}
	set_alarm(room, next);
	return found;
}

static bool look_at(const struct tp_policy *policy, struct room *room,
		    const struct epoll_event *event, struct tp_connection *out)
{
	size_t index = event->data.u64 & UINT32_MAX;
	if (index >= atomic_load(&place_count))
		return false;
	struct place *place = &atomic_load(&places)[index];
	if (!claim(place, PARKED))
		return false;
	if (!is_in(place, room) || ticket(place) != event->data.u64) {
		release(place, PARKED);
		return false;
	}
	bool ended = event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
	return decide(policy, place, (struct tp_news){.ended = ended}, out);
}

/*
 * Goes through the news of a pinned room until there are none, so that a thread which
 * looked at the same moment and left a connection to us has not done so in vain.
 */
static bool settle(const struct tp_policy *policy, struct room *room,
		   struct tp_connection *out)
{
	struct epoll_event events[16];
	if (!is_ours(room)) {
		abandon(room);
		return false;
	}
	for (int rounds = 0; rounds < 64; rounds++) {
		int n = tp_real()->epoll_wait(atomic_load(&room->epfd), events, 16, 0);
		bool alarm = false;
		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == TIMER)
				alarm = true;
			else if (look_at(policy, room, &events[i], out))
				return true;
		}
		if (alarm && expire(policy, room, out))
			return true;
		if (n <= 0)
			break;
	}
	return false;
}

bool tp_room_take(const struct tp_policy *policy, int listener,
		  struct tp_connection *connection)
{
	uint64_t key = tp_socket_key(listener);
	size_t index = 0;
	struct room *room;
	if (!key || !atomic_load(&places))
		return false;
	while ((room = next_room(key, &index))) {
		bool found = settle(policy, room, connection);
		unpin(room);
		if (!found)
			continue;
		connection->fd = bring_back(connection->fd);
		return true;
	}
	return false;
}

size_t tp_room_descriptors(int listener, int *fds, size_t max)
{
	uint64_t key = tp_socket_key(listener);
	size_t n = 0;
	for (size_t i = 0; key && i < ROOMS && n < max; i++) {
		int epfd = atomic_load(&rooms[i].epfd);
		if (atomic_load(&rooms[i].key) == key && epfd >= 0)
			fds[n++] = epfd;
	}
	return n;
}

void tp_room_mirror(int listener, int epfd, int op, const struct epoll_event *event)
{
	uint64_t key = tp_socket_key(listener);
	size_t index = 0;
	struct room *room;
	while (key && (room = next_room(key, &index))) {
		if (is_ours(room))
			tp_sets_mirror(atomic_load(&room->epfd), epfd, op, event);
		unpin(room);
	}
}

void tp_room_close(int listener)
{
	struct place *all = atomic_load(&places);
	uint64_t key = tp_socket_key(listener);
	for (size_t i = 0; key && i < atomic_load(&place_count); i++) {
		if (atomic_load(&all[i].key) != key || !claim(&all[i], PARKED))
			continue;
		if (is_our_connection(&all[i]))
			refuse_because(&all[i], TP_REASON_DROPPED);
		else
			leave(&all[i]);
	}
}

/* Out of the channel: nothing is known of it but what the kernel says. */
static struct tp_connection as_connection(int listener, const struct tp_passed *passed)
{
	struct tp_connection connection = {
		.fd = set_aside(passed->fd),
		.sender_len = sizeof connection.sender,
		.headers = passed->headers,
		.arrived_ms = passed->arrived_ms,
		.deadline_ms = passed->deadline_ms,
		.seen = passed->seen,
		.need = passed->need,
	};
	if (tp_real()->getpeername(connection.fd, &connection.sender.any,
				   &connection.sender_len))
		connection.sender_len = 0;
	tp_event_arrived(&connection, listener);
	tp_event_unparked(&connection);
	return connection;
}

static bool take_in(const struct tp_policy *policy, uint64_t key, struct room *room,
		    const struct tp_connection *connection,
		    const struct tp_passed *passed)
{
	struct place *place = take_place(policy, key, connection);
	if (!place)
		return false;
	place->usual_low_water = passed->usual_low_water;
	place->low_water = passed->low_water;
	bool pinned = pin(room);
	if (pinned && tp_admit_resume(policy, &place->connection) &&
	    move_in(place, room)) {
		release(place, PARKED);
		return true;
	}
	leave(place);
	if (pinned)
		unpin(room);
	return false;
}

/* Its sender has reset it meanwhile, or there is no place for it. */
static void refuse_passed(const struct tp_connection *connection)
{
	enum tp_reason reason = connection->sender_len ? TP_REASON_NO_PLACE
				: connection->seen     ? TP_REASON_CUT
						       : TP_REASON_PROBE;
	tp_event(connection, TP_OUTCOME_REJECTED, reason, NULL);
	tp_admit_reset(connection->fd);
}

bool tp_room_gather(const struct tp_policy *policy, int listener)
{
	struct tp_passed passed[TP_PASSED_MAX];
	uint64_t key = tp_socket_key(listener);
	struct room *room = NULL;
	size_t count, all = 0;
	while ((count = tp_share_get(key, passed))) {
		if (!room)
			room = get_room(key, passed[0].deadline_ms);
		for (size_t i = 0; i < count; i++) {
			struct tp_connection connection =
				as_connection(listener, &passed[i]);
			if (!room || !connection.sender_len ||
			    !take_in(policy, key, room, &connection, &passed[i]))
				refuse_passed(&connection);
		}
		all += count;
	}
	if (room) {
		tp_sets_attach(atomic_load(&room->epfd), listener, key, false);
		unpin(room);
	}
	return all;
}

/* The places of a listener, BUSY, as they are passed on; up to TP_PASSED_MAX. */
static size_t collect(const struct tp_policy *policy, uint64_t key,
		      struct place **collected, struct tp_passed *passed)
{
	struct tp_connection none;
	struct place *all = atomic_load(&places);
	size_t n = 0;
	for (size_t i = 0; n < TP_PASSED_MAX && i < atomic_load(&place_count); i++) {
		if (atomic_load(&all[i].key) != key || !claim(&all[i], PARKED))
			continue;
		if (!is_our_connection(&all[i])) {
			leave(&all[i]);
			continue;
		}
		if (tp_admit_is_late(&all[i].connection)) {
			if (decide(policy, &all[i], (struct tp_news){.expired = true},
				   &none))
				tp_admit_reset(none.fd); /* its last byte came too late */
			continue;
		}
		collected[n] = &all[i];
		passed[n++] = (struct tp_passed){
			.fd = all[i].connection.fd,
			.arrived_ms = all[i].connection.arrived_ms,
			.deadline_ms = all[i].connection.deadline_ms,
			.seen = (uint32_t)all[i].connection.seen,
			.need = (uint32_t)all[i].connection.need,
			.headers = all[i].connection.headers,
			.usual_low_water = all[i].usual_low_water,
			.low_water = all[i].low_water,
		};
	}
	return n;
}

static void let_go(struct place *place)
{
	watch(atomic_load(&room_of(place)->epfd), place->connection.fd, 0, 0,
	      EPOLL_CTL_DEL);
	tp_real()->close(place->connection.fd);
	tp_event_parked(&place->connection); /* it goes on waiting, in the channel */
	leave(place);
}

bool tp_room_share(const struct tp_policy *policy, int listener)
{
	struct place *collected[TP_PASSED_MAX];
	struct tp_passed passed[TP_PASSED_MAX];
	uint64_t key = tp_socket_key(listener);
	size_t count;
	if (!key || tp_share_door(key) < 0)
		return false;
	while ((count = collect(policy, key, collected, passed))) {
		bool sent = tp_share_put(key, passed, count);
		for (size_t i = 0; i < count; i++)
			if (sent)
				let_go(collected[i]);
			else
				release(collected[i], PARKED);
		if (!sent)
			return false;
	}
	return true;
}

static void close_copy_of_place(struct place *place)
{
	if (atomic_load(&place->state) != FREE && is_our_connection(place))
		tp_real()->close(place->connection.fd);
	atomic_store(&place->alarm_ms, TP_NEVER);
	atomic_store(&place->state, FREE);
}

void tp_room_forked(void)
{
	for (size_t i = 0; tp_room_any() && i < ROOMS; i++) {
		if (atomic_load(&rooms[i].users) && is_ours(&rooms[i]))
			close_descriptors(&rooms[i]);
		clear(&rooms[i]);
	}
	for (size_t i = 0; tp_room_any() && i < atomic_load(&place_count); i++)
		close_copy_of_place(&atomic_load(&places)[i]);
	if (tp_room_any())
		atomic_store(&tp_room_count, 0);
	if (atomic_load(&owner))
		atomic_store(atomic_load(&owner), getpid());
}
