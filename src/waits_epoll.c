/* SPDX-License-Identifier: MIT */
/* Waits in epoll. Rooms are in the program's sets, so only doors need looking after. */
#include "waits.h"

#include "clock.h"
#include "listener.h"
#include "real.h"
#include "room.h"
#include "sets.h"
#include "share.h"
#include "sleep.h"
#include "watch.h"

#define MANY_ROUNDS 8
#define PAUSE_MS 20

static int64_t epoll_deadline(const struct tp_epoll_wait *call)
{
	if (call->kind == TP_EPOLL_PWAIT2)
		return tp_clock_deadline_of(call->timeout);
	return call->timeout_ms < 0
		       ? TP_NEVER
		       : tp_clock_deadline((int64_t)call->timeout_ms * 1000000);
}

static int call_epoll(const struct tp_epoll_wait *call)
{
	const struct tp_real *real = tp_real();
	switch (call->kind) {
	case TP_EPOLL_WAIT:
		return real->epoll_wait(call->epfd, call->events, call->max,
					call->timeout_ms);
	case TP_EPOLL_PWAIT:
		return real->epoll_pwait(call->epfd, call->events, call->max,
					 call->timeout_ms, call->mask);
	case TP_EPOLL_PWAIT2:
		break;
	}
	return real->epoll_pwait2(call->epfd, call->events, call->max, call->timeout,
				  call->mask);
}

/* What an event that may be a door's comes to. */
enum { NO_DOOR, NOT_OURS, OPENED };

/*
 * Takes in what is in the channels of the set's listeners with this user data, if this
 * process accepts from them; else it is the program's to see.
 */
static int open_doors(int epfd, uint64_t wanted)
{
	size_t index = 0;
	uint64_t data;
	int listener, result = NO_DOOR;
	while ((listener = tp_sets_next(epfd, &index, &data)) >= 0) {
		if (data != wanted)
			continue;
		if (result == NO_DOOR)
			result = NOT_OURS;
		if (!tp_watch_has(listener, TP_ACCEPTED))
			continue;
		tp_listener_gather(listener);
		result = OPENED;
	}
	return result;
}

/* What is left of the events without those of doors. */
static int without_doors(int epfd, struct epoll_event *events, int count)
{
	int left = 0;
	for (int i = 0; i < count; i++) {
		struct epoll_event event = events[i];
		int door = event.events & TP_DOOR_EVENT ? open_doors(epfd, event.data.u64)
							: NO_DOOR;
		if (door == OPENED)
			continue;
		if (door == NOT_OURS)
			event.events &= ~TP_DOOR_EVENT;
		events[left++] = event;
	}
	return left;
}

static void share_set(int epfd)
{
	size_t index = 0;
	uint64_t data;
	int listener;
	while ((listener = tp_sets_next(epfd, &index, &data)) >= 0)
		tp_listener_share(listener);
}

/*
 * Until there is more than a door that was opened. A door that cannot be emptied, as this
 * process has lost its own end of the channel, must not make it spin.
 */
static int wait_beside_doors(struct tp_epoll_wait *call)
{
	int64_t deadline_ns = epoll_deadline(call), left;
	struct timespec limit;
	int n;
	for (int rounds = 0; (n = call_epoll(call)) > 0 &&
			     !(n = without_doors(call->epfd, call->events, n));
	     rounds++) {
		left = deadline_ns == TP_NEVER ? 0 : deadline_ns - tp_clock_ns();
		if (left < 0)
			break;
		if (rounds >= MANY_ROUNDS)
			tp_real()->poll(NULL, 0, PAUSE_MS);
		if (deadline_ns == TP_NEVER)
			continue;
		limit = tp_clock_timespec(left);
		call->timeout = &limit;
		call->timeout_ms = (int)((left + 999999) / 1000000);
	}
	if (!n && tp_room_any())
		share_set(call->epfd);
	return n;
}

int tp_waits_epoll(struct tp_epoll_wait call)
{
	int n = tp_share_any() ? wait_beside_doors(&call) : call_epoll(&call);
	if (n > 0)
		tp_sleep_note_epoll(call.epfd); /* accept wants to know */
	return n;
}
