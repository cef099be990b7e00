/* SPDX-License-Identifier: MIT */
#include "room.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"
#include "raise.h"
#include "real.h"
#include "sets.h"

#define ROOMS 256
#define CLOSING 0x80000000u

atomic_int tp_room_count;
static struct tp_room rooms[ROOMS];
static atomic_size_t used; /* those behind never were */

bool tp_room_watch(struct tp_room *room, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events};
	event.data.u64 = data;
	if (!tp_real()->epoll_ctl(atomic_load(&room->epfd), op, fd, &event))
		return true;
	/* It would go on to tell news of what is not here any more. */
	if (op != EPOLL_CTL_ADD && errno != EBADF && errno != ENOENT)
		atomic_store(&room->broken, true);
	return false;
}

int tp_room_news(struct tp_room *room, struct epoll_event *events, int max)
{
	int n = tp_real()->epoll_wait(atomic_load(&room->epfd), events, max, 0);
	if (n < 0 && errno != EINTR)
		atomic_store(&room->broken, true);
	return n;
}

/*
 * The interval that a timer of ours has, and nobody else's: the timer is set anew long
 * before it is over, so its length is free to tell whose the timer is.
 */
static struct timespec signature(const struct tp_room *room)
{
	return (struct timespec){.tv_sec = 100000000 + (time_t)(room - rooms),
				 .tv_nsec = 271828182};
}

bool tp_room_set_alarm(struct tp_room *room, int64_t at_ms)
{
	struct itimerspec alarm = {signature(room), tp_clock_timespec(at_ms * 1000000)};
	atomic_store(&room->alarm_ms, at_ms);
	if (!timerfd_settime(atomic_load(&room->timer), TFD_TIMER_ABSTIME, &alarm, NULL))
		return true;
	atomic_store(&room->broken, true);
	return false;
}

bool tp_room_hurry_alarm(struct tp_room *room, int64_t at_ms)
{
	return at_ms >= atomic_load(&room->alarm_ms) || tp_room_set_alarm(room, at_ms);
}

static enum tp_answer has_signature(const struct tp_room *room)
{
	const struct timespec wanted = signature(room);
	struct itimerspec alarm;
	if (timerfd_gettime(atomic_load(&room->timer), &alarm))
		return errno == EBADF || errno == EINVAL ? TP_NO : TP_UNSURE;
	return alarm.it_interval.tv_sec == wanted.tv_sec &&
			       alarm.it_interval.tv_nsec == wanted.tv_nsec
		       ? TP_YES
		       : TP_NO;
}

/* Its timer is, and is in its epoll set; one of the two has to be certain. */
static bool is_ours(const struct tp_room *room)
{
	enum tp_answer timer = has_signature(room), member;
	if (timer == TP_NO)
		return false;
	member = tp_sets_is_member(atomic_load(&room->epfd), atomic_load(&room->timer));
	return member == TP_YES || (member == TP_UNSURE && timer == TP_YES);
}

bool tp_room_is_sound(struct tp_room *room)
{
	if (!is_ours(room))
		atomic_store(&room->broken, true);
	return !atomic_load(&room->broken);
}

static void close_once(atomic_int *fd, bool ours)
{
	int number = atomic_exchange(fd, -1);
	if (ours && number >= 0)
		tp_real()->close(number);
}

/* The timer alone is known by its signature; the epoll instance by what it held. */
static void close_descriptors(struct tp_room *room, bool ours, bool held_ours)
{
	close_once(&room->timer, ours || has_signature(room) == TP_YES);
	close_once(&room->epfd, ours || held_ours);
}

void tp_room_lose(struct tp_room *room, bool held_ours)
{
	if (!is_ours(room))
		close_descriptors(room, false, held_ours);
}

bool tp_room_pin(struct tp_room *room)
{
	uint32_t users = atomic_load(&room->users);
	while (users && users < CLOSING)
		if (atomic_compare_exchange_weak(&room->users, &users, users + 1))
			return true;
	return false;
}

static void empty(struct tp_room *room, bool ours)
{
	close_descriptors(room, ours, false);
	atomic_store(&room->key, 0);
	atomic_store(&room->users, 0);
}

void tp_room_unpin(struct tp_room *room)
{
	uint32_t users = atomic_load(&room->users);
	while (!atomic_compare_exchange_weak(&room->users, &users,
					     users == 1 ? CLOSING : users - 1))
		;
	if (users != 1)
		return;
	bool ours = is_ours(room);
	if (ours) /* copies that somebody else may hold shall wake nobody */
		tp_room_watch(room, EPOLL_CTL_DEL, atomic_load(&room->timer), 0, 0);
	empty(room, ours);
}

struct tp_room *tp_room_next(uint64_t key, size_t *index)
{
	while (*index < atomic_load(&used)) {
		struct tp_room *room = &rooms[(*index)++];
		if (atomic_load(&room->key) != key || !tp_room_pin(room))
			continue;
		if (atomic_load(&room->key) == key)
			return room;
		tp_room_unpin(room);
	}
	return NULL;
}

static bool furnish(struct tp_room *room, int64_t alarm_ms)
{
	int epfd = epoll_create1(EPOLL_CLOEXEC);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	atomic_store(&room->epfd, epfd);
	atomic_store(&room->timer, timer);
	atomic_store(&room->broken, false);
	return tp_room_watch(room, EPOLL_CTL_ADD, timer, EPOLLIN, TP_ROOM_TIMER) &&
	       tp_room_set_alarm(room, alarm_ms);
}

struct tp_room *tp_room_make(uint64_t key, int64_t alarm_ms)
{
	for (size_t i = 0; i < ROOMS; i++) {
		uint32_t nobody = 0;
		if (!atomic_compare_exchange_strong(&rooms[i].users, &nobody, 1))
			continue;
		tp_raise(&used, i + 1);
		if (furnish(&rooms[i], alarm_ms)) {
			atomic_store(&rooms[i].key, key);
			return &rooms[i];
		}
		empty(&rooms[i], true);
		return NULL;
	}
	return NULL;
}

size_t tp_room_descriptors(int listener, int *fds, size_t max)
{
	uint64_t key = tp_socket_key(listener);
	size_t n = 0;
	for (size_t i = 0; i < atomic_load(&used) && n < max; i++) {
		int epfd = atomic_load(&rooms[i].epfd);
		uint64_t whose = atomic_load(&rooms[i].key);
		if (whose && (!key || whose == key) && epfd >= 0)
			fds[n++] = epfd;
	}
	return n;
}

bool tp_room_is(int fd)
{
	for (size_t i = 0; i < atomic_load(&used); i++) {
		struct tp_room *room = &rooms[i];
		if (atomic_load_explicit(&room->epfd, memory_order_relaxed) != fd ||
		    !tp_room_pin(room))
			continue;
		bool is = atomic_load(&room->epfd) == fd && is_ours(room);
		tp_room_unpin(room);
		if (is)
			return true;
	}
	return false;
}

void tp_room_mirror(int listener, int epfd, int op, const struct epoll_event *event)
{
	uint64_t key = tp_socket_key(listener);
	size_t index = 0;
	struct tp_room *room;
	while (key && (room = tp_room_next(key, &index))) {
		if (is_ours(room))
			tp_sets_mirror(atomic_load(&room->epfd), epfd, op, event);
		tp_room_unpin(room);
	}
}

void tp_room_forked(void)
{
	for (size_t i = 0; i < atomic_load(&used); i++)
		if (atomic_load(&rooms[i].users))
			empty(&rooms[i], is_ours(&rooms[i]));
}
