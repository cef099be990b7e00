/* SPDX-License-Identifier: MIT */
#include "sleep.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "real.h"
#include "room.h"
#include "sets.h"
#include "share.h"
#include "watch.h"

#define ROOMS 16
#define HEAD_START_NS 1000000
#define TIME_OVER (-2)

/* The mark: random, as the tag of the peer record is. */
static const uint8_t mark[16] = {0x5c, 0x0e, 0xb3, 0x77, 0x19, 0xd4, 0x8a, 0x60,
				 0xf2, 0x3b, 0x95, 0xe1, 0x4d, 0xa8, 0x26, 0x01};

static bool has_mark(int listener)
{
	uint8_t key[32];
	socklen_t size = sizeof key;
	return !getsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, &size) &&
	       size == sizeof mark && !memcmp(key, mark, sizeof mark);
}

static bool has_flag(int listener)
{
	int flags = fcntl(listener, F_GETFL);
	return flags >= 0 && flags & O_NONBLOCK;
}

bool tp_sleep_is_blocking(int listener)
{
	if (tp_watch_has(listener, TP_EMULATED))
		return true;
	if (!has_flag(listener))
		return true;
	if (!has_mark(listener))
		return false;
	tp_watch_add(listener, TP_EMULATED);
	return true;
}

bool tp_sleep_is_due(int listener)
{
	int saved = errno;
	if (tp_watch_has(listener, TP_EMULATED))
		return true;
	if (tp_watch_has(listener, TP_NONBLOCKING))
		return false;
	/* Without the flag it was SO_RCVTIMEO. */
	bool flag = has_flag(listener), due = flag && has_mark(listener);
	if (flag)
		tp_watch_add(listener, due ? TP_EMULATED : TP_NONBLOCKING);
	errno = saved;
	return due;
}

bool tp_sleep_emulate(int listener)
{
	if (tp_watch_has(listener, TP_EMULATED))
		return true;
	int flags = fcntl(listener, F_GETFL);
	if (flags < 0)
		return false;
	if (!has_mark(listener) &&
	    setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, mark, sizeof mark))
		return false;
	if (!(flags & O_NONBLOCK) && fcntl(listener, F_SETFL, flags | O_NONBLOCK))
		return false;
	tp_watch_add(listener, TP_EMULATED);
	return true;
}

int64_t tp_sleep_deadline(int listener)
{
	struct timeval limit = {0};
	socklen_t size = sizeof limit;
	if (getsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, &size) ||
	    (!limit.tv_sec && !limit.tv_usec))
		return TP_NEVER;
	return tp_clock_ns() + (int64_t)limit.tv_sec * 1000000000 + limit.tv_usec * 1000;
}

/*
 * The kernel's accept goes on after a handler with SA_RESTART; poll never does, and does
 * not tell which signal it was. Where a handler without it exists, the program knows
 * EINTR.
 */
static bool knows_interruption(void)
{
	for (int number = 1; number < NSIG; number++) {
		struct sigaction action;
		if (!sigaction(number, NULL, &action) && action.sa_handler != SIG_DFL &&
		    action.sa_handler != SIG_IGN && !(action.sa_flags & SA_RESTART))
			return true;
	}
	return false;
}

/* One byte of the static block, which also a library that is loaded late gets. */
static _Thread_local bool woken __attribute__((tls_model("initial-exec")));

void tp_sleep_note_wakeup(void)
{
	woken = true;
}

bool tp_sleep_was_woken(void)
{
	bool was = woken;
	woken = false;
	return was;
}

/* The listener, its rooms and the door of its channel, to be polled. */
struct bed {
	struct pollfd fds[1 + ROOMS + 1];
	size_t rooms, count;
};

static void make_bed(struct bed *bed, int listener)
{
	int rooms[ROOMS];
	bed->fds[0] = (struct pollfd){.fd = listener, .events = POLLIN};
	bed->rooms = tp_room_any() ? tp_room_descriptors(listener, rooms, ROOMS) : 0;
	for (size_t i = 0; i < bed->rooms; i++)
		bed->fds[1 + i] = (struct pollfd){.fd = rooms[i], .events = POLLIN};
	bed->count = 1 + bed->rooms;
	int door = tp_share_any() ? tp_share_door(tp_socket_key(listener)) : -1;
	if (door >= 0)
		bed->fds[bed->count++] = (struct pollfd){.fd = door, .events = POLLIN};
}

/*
 * Whoever has parked connections lets the others go first: a thread or process that is
 * busy with a client cannot look after its room.
 */
static int let_others_go_first(struct bed *bed)
{
	if (!bed->rooms || !bed->fds[0].revents)
		return 1;
	for (size_t i = 0; i < bed->rooms; i++)
		if (bed->fds[1 + i].revents)
			return 1;
	const struct timespec moment = {.tv_nsec = HEAD_START_NS}, no_time = {0};
	if (tp_real()->ppoll(bed->fds + 1, bed->rooms, &moment, NULL))
		return 1;
	return tp_real()->ppoll(bed->fds, bed->count, &no_time, NULL);
}

static int wait_once(int listener, int64_t deadline_ns)
{
	struct bed bed;
	make_bed(&bed, listener);
	int64_t left = deadline_ns == TP_NEVER ? 0 : deadline_ns - tp_clock_ns();
	struct timespec timeout = tp_clock_timespec(left > 0 ? left : 0);
	int n = tp_real()->ppoll(bed.fds, bed.count,
				 deadline_ns == TP_NEVER ? NULL : &timeout, NULL);
	if (n <= 0)
		return n ? n : TIME_OVER;
	return let_others_go_first(&bed);
}

bool tp_sleep(int listener, int64_t deadline_ns)
{
	int n;
	do
		n = wait_once(listener, deadline_ns);
	while (!n || (n < 0 && n != TIME_OVER && errno == EINTR &&
		      deadline_ns == TP_NEVER && !knows_interruption()));
	if (n == TIME_OVER)
		errno = EAGAIN;
	return n > 0;
}
