/* SPDX-License-Identifier: MIT */
#include "listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>

#include "admit.h"
#include "backstage.h"
#include "clock.h"
#include "descriptors.h"
#include "local.h"
#include "owner.h"
#include "park.h"
#include "pass.h"
#include "policy.h"
#include "ready.h"
#include "real.h"
#include "room.h"
#include "sets.h"
#include "share.h"
#include "watch.h"

#define DEFERRED_BACKLOG 1024
#define LOOK_MS 100 /* between two looks at who is late, while others come */
#define LOOKS 64
#define INHERITED_LOOKED_AT 256 /* descriptors */

void tp_listener_attach_door(int listener)
{
	uint64_t key = tp_socket_key(listener);
	int door = tp_share_own_door(key);
	if (door >= 0)
		tp_sets_attach_door(door, listener, key);
}

static bool gather(int listener, size_t batches)
{
	struct tp_backstage stage = tp_backstage_enter();
	bool found = tp_pass_gather(tp_policy_get(), listener, batches);
	tp_backstage_leave(stage);
	return found;
}

bool tp_listener_gather(int listener)
{
	return gather(listener, SIZE_MAX);
}

bool tp_listener_gather_some(int listener)
{
	/* By the listener's number; two that share a place have turns less often. */
	static _Atomic int64_t looked_ms[LOOKS];
	if (!tp_watch_has(listener, TP_LISTENS))
		return false;
	_Atomic int64_t *looked = &looked_ms[listener % LOOKS];
	int64_t now = tp_clock_ms(), before = atomic_load(looked);
	return now >= before + LOOK_MS &&
	       atomic_compare_exchange_strong(looked, &before, now) &&
	       gather(listener, 1);
}

void tp_listener_share(int listener)
{
	struct tp_backstage stage = tp_backstage_enter();
	tp_pass_on(tp_policy_get(), listener);
	tp_backstage_leave(stage);
}

/*
 * Only at the start: a program that has locked itself in by then (seccomp(2)) would pay
 * for the question with its life.
 */
void tp_listener_inherit(void)
{
	struct tp_descriptors all = {.end = INHERITED_LOOKED_AT};
	int fd, saved = errno, listens;
	while ((fd = tp_descriptors_next(&all)) >= 0) {
		socklen_t size = sizeof listens;
		if (!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) &&
		    listens && tp_admit_is_tcp(fd))
			tp_watch_add(fd, TP_LISTENS);
	}
	errno = saved;
}

static void make_channel(int listener)
{
	tp_owner_mark();
	tp_watch_add(listener, TP_SHARED);
	tp_share_make(listener);
}

/* Sets that hold a listener already get to hold the door of its channel, too. */
void tp_listener_fork(void)
{
	int saved = errno;
	for (int fd = tp_watch_next(0); fd >= 0; fd = tp_watch_next(fd + 1)) {
		if (tp_share_any() && tp_watch_has(fd, TP_SHARED))
			continue;
		make_channel(fd);
		tp_listener_attach_door(fd);
	}
	tp_share_forked();
	errno = saved;
}

static void leave(bool ends)
{
	if (!tp_room_any() || tp_owner_is_borrowed())
		return;
	tp_share_forked(); /* should exec fail, this process is one of the others */
	for (int fd = tp_watch_next(0); fd >= 0; fd = tp_watch_next(fd + 1))
		if (!ends || !tp_watch_has(fd, TP_EMULATED))
			tp_listener_share(fd);
}

/* Where processes sleep in accept, those that began before there was anybody to look
 * after would not hear of the parked: a reset is better than that. */
void tp_listener_exit(void)
{
	if (tp_share_any())
		leave(true);
}

void tp_listener_exec(void)
{
	leave(false);
}

/*
 * Deferred connections stay out of the way until their first bytes are there. They sit
 * in the backlog meanwhile, which has to hold them.
 */
static int defer(const struct tp_rule *rule, int fd, int backlog)
{
	int seconds = rule ? (int)(rule->timeout_ms + 999) / 1000 : 0;
	if (!seconds ||
	    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds))
		return backlog;
	/* To listen(2) a negative one is the longest. */
	return (unsigned)backlog < DEFERRED_BACKLOG ? DEFERRED_BACKLOG : backlog;
}

int tp_listener_listen(int fd, int backlog)
{
	int saved = errno;
	const struct tp_policy *policy = tp_admit_is_tcp(fd) ? tp_policy_get() : NULL;
	tp_watch_forget(fd); /* what had this number before */
	errno = saved;
	if (!policy || policy->state == TP_POLICY_OFF)
		return tp_real()->listen(fd, backlog);
	if (policy->state == TP_POLICY_BROKEN) {
		errno = EINVAL;
		return -1;
	}
	struct tp_addr bound = tp_local_addr(fd);
	if (tp_policy_listens_on(policy, &bound)) {
		backlog = defer(tp_policy_defers(policy, &bound), fd, backlog);
		if (policy->max_pending) {
			tp_watch_add(fd, TP_LISTENS);
			make_channel(fd);
		}
	}
	errno = saved;
	return tp_real()->listen(fd, backlog);
}

static void mirror_door(int listener, int epfd, int op, const struct epoll_event *event)
{
	int door = tp_share_own_door(tp_socket_key(listener));
	if (op == EPOLL_CTL_DEL && tp_room_any())
		tp_pass_on(tp_policy_get(), listener);
	if (door >= 0)
		tp_sets_mirror_door(door, epfd, op, event);
}

/*
 * A program that closes a descriptor may take it out of its set later (libevent does). If
 * the number is a room's by then, the room has to stay: to the program it is closed.
 */
static bool means_what_it_closed(int fd)
{
	int saved = errno;
	bool room = tp_room_any() && tp_room_is(fd);
	errno = room ? EBADF : saved;
	return room;
}

int tp_listener_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	if (means_what_it_closed(fd))
		return -1;
	int result = tp_real()->epoll_ctl(epfd, op, fd, event);
	if (result || !tp_watch_has(fd, TP_LISTENS))
		return result;
	int saved = errno;
	tp_sets_note(epfd, op, fd, event);
	if (tp_room_any())
		tp_room_mirror(fd, epfd, op, event);
	if (tp_share_any())
		mirror_door(fd, epfd, op, event);
	errno = saved;
	return result;
}

/* Whether the program has the same listener under another descriptor, too. */
static bool has_twin(int listener)
{
	struct tp_descriptors all = {.end = TP_DESCRIPTORS_MAX};
	uint64_t key = tp_socket_key(listener);
	int fd;
	while ((fd = tp_descriptors_next(&all)) >= 0)
		if (fd != listener && tp_socket_key(fd) == key)
			return true;
	return false;
}

/* The others go on; the sets that held the listener forget it now. */
static void leave_channel(int listener)
{
	uint64_t key = tp_socket_key(listener);
	int door = tp_share_own_door(key);
	if (door < 0)
		return;
	if (tp_room_any())
		tp_pass_on(tp_policy_get(), listener);
	tp_sets_leave(door, listener);
}

/* What was taken ahead for it would come out of the next listener of that number. */
static void forget_ready(int listener)
{
	struct tp_connection connection;
	while (tp_ready_any() && tp_ready_take(listener, &connection))
		tp_admit_reset(connection.fd);
}

static void close_listener(int fd)
{
	tp_park_settle();
	if (tp_owner_is_borrowed())
		return;
	if (tp_share_any())
		leave_channel(fd);
	forget_ready(fd);
	uint64_t key = tp_socket_key(fd);
	bool ours = tp_share_is_made_here(key);
	if ((tp_room_any() || ours) && !has_twin(fd)) {
		tp_park_close(fd);
		if (ours)
			tp_share_close(key);
	}
	tp_sets_forget(fd);
	tp_watch_forget(fd);
}

int tp_listener_close(int fd)
{
	if (tp_watch_has(fd, TP_LISTENS)) {
		int saved = errno;
		close_listener(fd);
		errno = saved;
	}
	return tp_real()->close(fd);
}
