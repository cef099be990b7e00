/* SPDX-License-Identifier: MIT */
#include "accept.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "admit.h"
#include "clock.h"
#include "listener.h"
#include "names.h"
#include "park.h"
#include "peer.h"
#include "policy.h"
#include "ready.h"
#include "real.h"
#include "room.h"
#include "sets.h"
#include "share.h"
#include "sleep.h"
#include "watch.h"

#define MOMENT_MS 2 /* for a header that was sent right behind the connection */
#define FIRST_MOMENT_MS 40
#define BLIND_WAIT_MS 100   /* where nothing would tell the program of a parked one */
#define BLIND_PAUSE_MS 1000 /* between two such waits */
#define ROOMS 16

/*
 * What is to be done next; values above these are the new descriptor. BLIND: nothing
 * would tell the program of the connection that was just parked. REFUSED: accept on the
 * listener sleeps, and nobody was parked.
 */
enum { FAILED = -1, RETRY = -2, RETRY_BLIND = -3, REFUSED = -4, SLEEP = -5 };

static int copy_client(const struct tp_connection *connection,
		       const struct tp_accept *call)
{
	union tp_sockaddr client;
	socklen_t len;
	if (!call->addr)
		return 0;
	if (connection->peer.client.family == AF_UNSPEC)
		return tp_names_copy(&connection->sender, connection->sender_len,
				     call->addr, call->len);
	len = tp_peer_to_kernel(&connection->peer, connection->sender.any.sa_family,
				call->len ? *call->len : 0, &client);
	return tp_names_copy(&client, len, call->addr, call->len);
}

static int hand_over(const struct tp_connection *connection, const struct tp_accept *call)
{
	if (!copy_client(connection, call))
		return connection->fd;
	int saved = errno;
	tp_real()->close(connection->fd);
	errno = saved;
	return FAILED;
}

/* The kernel's accept: the same function that the program called. */
static int take(const struct tp_accept *call, struct sockaddr *addr, socklen_t *len)
{
	return call->four ? tp_real()->accept4(call->fd, addr, len, call->flags)
			  : tp_real()->accept(call->fd, addr, len);
}

/* One that was parked or taken ahead has other flags than this call asks for. */
static void set_flags(int fd, int wanted)
{
	int flags = fcntl(fd, F_GETFL);
	int changed = wanted & SOCK_NONBLOCK ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	if (changed != flags)
		fcntl(fd, F_SETFL, changed);
	fcntl(fd, F_SETFD, wanted & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
}

/* One that poll or select took; nothing to do for accept. */
static int accept_ready(const struct tp_accept *call)
{
	struct tp_connection connection;
	if (!tp_ready_take(call->fd, &connection))
		return RETRY;
	set_flags(connection.fd, call->four ? call->flags : 0);
	return hand_over(&connection, call);
}

static int accept_parked(const struct tp_policy *policy, const struct tp_accept *call)
{
	struct tp_connection connection;
	tp_park_settle();
	if (!tp_park_take(policy, call->fd, &connection))
		return RETRY;
	set_flags(connection.fd, call->four ? call->flags : 0);
	return hand_over(&connection, call);
}

enum tp_parked tp_accept_park(const struct tp_policy *policy, int listener,
			      struct tp_connection *connection)
{
	bool search = !tp_watch_has(listener, TP_POLLED) &&
		      !tp_watch_has(listener, TP_SEARCHED);
	enum tp_parked parked = tp_park(policy, listener, connection, search);
	if (parked == TP_PARKED && search)
		tp_watch_add(listener, TP_SEARCHED);
	if (parked == TP_PARKED_IN_SET && search && tp_share_any())
		tp_listener_attach_door(listener);
	if (parked == TP_PARKED_NOT)
		tp_admit_turn_away(connection, TP_REASON_NO_PLACE);
	return parked;
}

/*
 * Nothing that we know of tells the program of the connection: give it a moment here, but
 * not one after the other.
 */
static void wait_a_moment(int listener)
{
	static _Atomic int64_t last_ms;
	int rooms[ROOMS];
	struct pollfd fds[ROOMS];
	int64_t now = tp_clock_ms(), before = atomic_load(&last_ms);
	if (now < before + BLIND_PAUSE_MS ||
	    !atomic_compare_exchange_strong(&last_ms, &before, now + BLIND_WAIT_MS))
		return;
	size_t n = tp_room_descriptors(listener, rooms, ROOMS);
	for (size_t i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = rooms[i], .events = POLLIN};
	tp_real()->poll(fds, n, BLIND_WAIT_MS);
}

/* AF_UNIX, MPTCP, Linux before 4.15: accept may sleep beside those who are parked. */
static bool has_no_place_for_mark(int error)
{
	return error == ENOPROTOOPT || error == EOPNOTSUPP;
}

/*
 * A connection came and is not to be handed over. A program that was woken for it must
 * not sleep now; one that waits nowhere but in accept must.
 */
static int after_nothing(const struct tp_policy *policy, int listener,
			 enum tp_parked parked)
{
	if (!policy->max_pending)
		return RETRY;
	if (tp_watch_has(listener, TP_NONBLOCKING) || !tp_sleep_is_blocking(listener)) {
		bool unseen = parked == TP_PARKED && !tp_watch_has(listener, TP_POLLED);
		return unseen ? RETRY_BLIND : RETRY;
	}
	if (parked == TP_PARKED_NOT)
		return REFUSED;
	if (tp_sleep_emulate(listener) || has_no_place_for_mark(errno))
		return SLEEP;
	tp_park_close(listener); /* accept would sleep beside them */
	return REFUSED;
}

/*
 * How long the kernel has held a silent connection back (TCP_DEFER_ACCEPT, tcp(7)): it
 * has then asked for the first bytes a second time, and where it had no room for that, it
 * has not waited at all (SYN cookies).
 */
static int64_t deferred_ms(int listener, int connection)
{
	struct tcp_info info = {0};
	int seconds = 0;
	socklen_t size = sizeof seconds;
	if (getsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, &size) ||
	    !seconds)
		return 0;
	size = sizeof info;
	getsockopt(connection, IPPROTO_TCP, TCP_INFO, &info, &size);
	return info.tcpi_total_retrans ? (int64_t)seconds * 1000 : 0;
}

/*
 * A program that waits in poll or select, and accepts for the first time from a listener
 * on which accept should sleep, is about to meet an error.
 */
static int moment_ms(int listener, bool first)
{
	return first && tp_watch_has(listener, TP_POLLED) &&
			       tp_sleep_is_blocking(listener)
		       ? FIRST_MOMENT_MS
		       : MOMENT_MS;
}

/*
 * A header that was sent right behind the connection is here in a moment, which is
 * cheaper to wait for than a room to make. Only for the first: a crowd of silent ones is
 * parked. What the kernel has deferred it for is taken off its time.
 */
static enum tp_admission await_header(const struct tp_policy *policy, int listener,
				      struct tp_connection *connection, bool first)
{
	struct pollfd fd = {.fd = connection->fd, .events = POLLIN | POLLRDHUP};
	if (connection->seen || connection->headers)
		return TP_WAITING;
	connection->deadline_ms -= deferred_ms(listener, connection->fd);
	struct tp_news news = {.expired = connection->deadline_ms <= tp_clock_ms()};
	if (tp_room_any() && !news.expired)
		return TP_WAITING;
	int n = tp_real()->poll(&fd, 1, news.expired ? 0 : moment_ms(listener, first));
	news.ended = n == 1 && fd.revents & (POLLRDHUP | POLLHUP | POLLERR);
	return n == 1 || news.expired ? tp_admit_again(policy, connection, news)
				      : TP_WAITING;
}

/* A descriptor the kernel has just handed out; the caller has disabled cancellation. */
static int accept_taken(const struct tp_policy *policy, const struct tp_accept *call,
			struct tp_connection *connection)
{
	enum tp_admission admission = tp_admit(policy, call->fd, connection);
	bool first = !tp_watch_has(call->fd, TP_ACCEPTED);
	if (connection->rule && policy->max_pending) {
		tp_watch_add(call->fd, TP_LISTENS);
		tp_watch_add(call->fd, TP_ACCEPTED);
	}
	if (admission == TP_WAITING)
		admission = await_header(policy, call->fd, connection, first);
	switch (admission) {
	case TP_ADMITTED:
		return hand_over(connection, call);
	case TP_WAITING:
		return after_nothing(policy, call->fd,
				     tp_accept_park(policy, call->fd, connection));
	case TP_REFUSED:
		tp_admit_reset(connection->fd);
		break;
	}
	return after_nothing(policy, call->fd, TP_PARKED_NOT);
}

/*
 * Nothing in the kernel's queue; there may be something in the channel, which waits that
 * are ours have looked into.
 */
static int accept_none(int listener)
{
	if (errno != EAGAIN)
		return FAILED;
	bool due = tp_sleep_is_due(listener);
	bool looked =
		!due && tp_sleep_has_waited() && tp_watch_has(listener, TP_ACCEPTED);
	tp_watch_add(listener, TP_ACCEPTED);
	if (tp_share_any() && !looked && tp_listener_gather(listener))
		return RETRY;
	return due ? SLEEP : FAILED;
}

static int accept_new(const struct tp_policy *policy, const struct tp_accept *call)
{
	struct tp_connection connection = {.sender_len = sizeof connection.sender};
	int cancel_state, result;
	if (tp_room_any())
		tp_sleep_stay_awake(call->fd);
	connection.fd = take(call, &connection.sender.any, &connection.sender_len);
	if (connection.fd < 0)
		return policy->max_pending ? accept_none(call->fd) : FAILED;
	/* From here on a cancelled thread would leave the descriptor behind. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	result = accept_taken(policy, call, &connection);
	pthread_setcancelstate(cancel_state, NULL);
	return result;
}

/* Connections that were taken ahead or whose header was late, then the kernel's queue. */
static int accept_next(const struct tp_policy *policy, const struct tp_accept *call)
{
	int result = RETRY, cancel_state;
	if (tp_ready_any() || tp_room_any()) {
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
		if (tp_ready_any())
			result = accept_ready(call);
		if (result == RETRY && tp_room_any())
			result = accept_parked(policy, call);
		pthread_setcancelstate(cancel_state, NULL);
	}
	return result == RETRY ? accept_new(policy, call) : result;
}

/*
 * Sleeps in accept, where the program means to: one that was woken is told it was for
 * nothing. In poll and select, where that happens but once, by an error that accept may
 * give on a blocking listener; epoll, where it may happen again, needs the one that sends
 * every program back to its wait.
 */
static bool sleep_here(const struct tp_accept *call, int why, int mark,
		       int64_t *deadline_ns)
{
	if (tp_sleep_was_woken(mark)) {
		errno = tp_watch_has(call->fd, TP_POLLED) ? ECONNABORTED : EAGAIN;
		return false;
	}
	if (why == REFUSED)
		return true; /* the kernel's accept sleeps as well */
	if (!*deadline_ns)
		*deadline_ns = tp_sleep_deadline(call->fd);
	return tp_sleep(call->fd, *deadline_ns);
}

/* Whether this process will look into the channel again, in a wait that is ours. */
static bool is_waited_for(int listener)
{
	return tp_watch_has(listener, TP_POLLED) || tp_watch_has(listener, TP_EMULATED) ||
	       tp_sets_hold(listener);
}

int tp_accept(const struct tp_accept *call)
{
	const struct tp_policy *policy = tp_policy_get();
	int64_t deadline_ns = 0;
	int result, saved = errno;
	int mark = tp_sleep_take_mark();
	bool blind = false;
	if (policy->state == TP_POLICY_OFF)
		return take(call, call->addr, call->len);
	bool gathered = tp_share_any() && tp_listener_gather_some(call->fd);
	while ((result = accept_next(policy, call)) < FAILED) {
		if (result <= REFUSED && !sleep_here(call, result, mark, &deadline_ns)) {
			result = FAILED;
			break;
		}
		if (result == RETRY_BLIND && !blind) {
			wait_a_moment(call->fd);
			blind = true;
		}
	}
	if (tp_share_any() && tp_room_any() && (gathered || is_waited_for(call->fd)) &&
	    (result >= 0 || tp_sleep_was_woken(mark)))
		tp_listener_share(call->fd);
	if (result >= 0)
		errno = saved;
	return result;
}
