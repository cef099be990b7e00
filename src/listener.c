/* SPDX-License-Identifier: MIT */
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "admit.h"
#include "clock.h"
#include "events.h"
#include "inert.h"
#include "local.h"
#include "owner.h"
#include "park.h"
#include "pass.h"
#include "peer.h"
#include "policy.h"
#include "ready.h"
#include "real.h"
#include "room.h"
#include "sets.h"
#include "share.h"
#include "sleep.h"
#include "watch.h"

#define BLIND_PAUSE_MS 1000 /* between two waits of that kind */
#define ROOMS 16
#define MOMENT_MS 2
#define FIRST_MOMENT_MS 40
#define BLIND_WAIT_MS                                                                    \
	100 /* where nothing would wake the program for a parked connection */
#define DEFERRED_BACKLOG 1024
#define INHERITED_LOOKED_AT 256 /* descriptors */

/*
 * What is to be done next; values above these are the new descriptor. BLIND: nothing
 * would tell the program of the connection that was just parked. REFUSED: accept on the
 * listener sleeps, and nobody was parked.
 */
enum { FAILED = -1, RETRY = -2, RETRY_BLIND = -3, REFUSED = -4, SLEEP = -5 };

/* Gives the caller an address the way the kernel does: cut to the room, the full length
 * told. */
static int copy_out(const union tp_sockaddr *kernel, socklen_t kernel_len,
		    struct sockaddr *addr, socklen_t *len)
{
	if (!addr || !len) {
		errno = EFAULT;
		return -1;
	}
	if ((int)*len < 0) {
		errno = EINVAL;
		return -1;
	}
	memcpy(addr, kernel, *len < kernel_len ? *len : kernel_len);
	*len = kernel_len;
	return 0;
}

static int copy_client(const struct tp_connection *connection,
		       const struct tp_accept *call)
{
	union tp_sockaddr client;
	socklen_t len;
	if (!call->addr)
		return 0;
	if (connection->peer.client.family == AF_UNSPEC)
		return copy_out(&connection->sender, connection->sender_len, call->addr,
				call->len);
	len = tp_peer_to_kernel(&connection->peer, connection->sender.any.sa_family,
				call->len ? *call->len : 0, &client);
	return copy_out(&client, len, call->addr, call->len);
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

/* A parked descriptor has other flags than this call asks for. */
static void set_flags(int fd, int wanted)
{
	int flags = fcntl(fd, F_GETFL);
	int changed = wanted & SOCK_NONBLOCK ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	if (changed != flags)
		fcntl(fd, F_SETFL, changed);
	fcntl(fd, F_SETFD, wanted & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
}

/* One that poll or select took with the kernel's own flags; nothing to do for accept. */
static int accept_ready(const struct tp_accept *call)
{
	struct tp_connection connection;
	if (!tp_ready_take(call->fd, &connection))
		return RETRY;
	if (call->four && call->flags)
		set_flags(connection.fd, call->flags);
	return hand_over(&connection, call);
}

static int accept_parked(const struct tp_policy *policy, const struct tp_accept *call)
{
	struct tp_connection connection;
	if (tp_owner_is_copy())
		tp_park_forked();
	if (!tp_park_take(policy, call->fd, &connection))
		return RETRY;
	set_flags(connection.fd, call->four ? call->flags : 0);
	return hand_over(&connection, call);
}

static void attach_door(int listener)
{
	uint64_t key = tp_socket_key(listener);
	int door = tp_share_own_door(key);
	if (door >= 0)
		tp_sets_attach_door(door, listener, key);
}

/* Parks it, or refuses it where there is no place. */
static enum tp_parked park(const struct tp_policy *policy, int listener,
			   struct tp_connection *connection)
{
	bool search = !tp_watch_has(listener, TP_POLLED) &&
		      !tp_watch_has(listener, TP_SEARCHED);
	enum tp_parked parked = tp_park(policy, listener, connection, search);
	if (parked == TP_PARKED && search)
		tp_watch_add(listener, TP_SEARCHED);
	if (parked == TP_PARKED_IN_SET && search && tp_share_any())
		attach_door(listener);
	if (parked == TP_PARKED_NOT) {
		tp_event(connection, TP_OUTCOME_REJECTED, TP_REASON_NO_PLACE, NULL);
		tp_admit_reset(connection->fd);
	}
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
	if (tp_sleep_emulate(listener))
		return SLEEP;
	tp_park_close(listener); /* accept would sleep beside them */
	return REFUSED;
}

static bool is_deferred(int listener)
{
	int seconds = 0;
	socklen_t size = sizeof seconds;
	return !getsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, &size) &&
	       seconds;
}

/*
 * A program that waits in poll or select, and accepts for the first time from a listener
 * on which accept should sleep, is about to meet an EAGAIN that it may not know.
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
 * parked. One that was deferred has had its time already.
 */
static enum tp_admission await_header(const struct tp_policy *policy, int listener,
				      struct tp_connection *connection, bool first)
{
	struct pollfd fd = {.fd = connection->fd, .events = POLLIN | POLLRDHUP};
	if (tp_room_any() || connection->seen || connection->headers)
		return TP_WAITING;
	int n = tp_real()->poll(&fd, 1, moment_ms(listener, first));
	struct tp_news news = {
		.ended = n == 1 && fd.revents & (POLLRDHUP | POLLHUP | POLLERR),
		.expired = n == 0 && is_deferred(listener),
	};
	return n == 1 || news.expired ? tp_admit_again(policy, connection, news)
				      : TP_WAITING;
}

/* Around work that the program shall not notice: errno, cancellation; in a child of a
 * bare clone(2) its copies go first. */
struct backstage {
	int saved, cancel_state;
};

static struct backstage enter(void)
{
	struct backstage stage = {.saved = errno};
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &stage.cancel_state);
	if (tp_owner_is_copy())
		tp_park_forked();
	return stage;
}

static void leave(struct backstage stage)
{
	pthread_setcancelstate(stage.cancel_state, NULL);
	errno = stage.saved;
}

static bool gather(const struct tp_policy *policy, int listener)
{
	struct backstage stage = enter();
	bool found = tp_pass_gather(policy, listener);
	leave(stage);
	return found;
}

void tp_listener_gather(int listener)
{
	gather(tp_policy_get(), listener);
}

void tp_listener_share(int listener)
{
	struct backstage stage = enter();
	tp_pass_on(tp_policy_get(), listener);
	leave(stage);
}

/*
 * Only at the start: a program that has locked itself in by then (seccomp(2)) would pay
 * for the question with its life.
 */
void tp_listener_inherit(void)
{
	struct pollfd fds[INHERITED_LOOKED_AT];
	int saved = errno, listens;
	for (int fd = 0; fd < INHERITED_LOOKED_AT; fd++)
		fds[fd] = (struct pollfd){.fd = fd};
	tp_real()->poll(fds, INHERITED_LOOKED_AT, 0);
	for (int fd = 0; fd < INHERITED_LOOKED_AT; fd++) {
		socklen_t size = sizeof listens;
		if (!(fds[fd].revents & POLLNVAL) &&
		    !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) &&
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
		attach_door(fd);
	}
	tp_share_forked();
	errno = saved;
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
				     park(policy, call->fd, connection));
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
static int accept_none(const struct tp_policy *policy, int listener)
{
	if (errno != EAGAIN)
		return FAILED;
	bool due = tp_sleep_is_due(listener);
	bool looked =
		!due && tp_sleep_has_waited() && tp_watch_has(listener, TP_ACCEPTED);
	tp_watch_add(listener, TP_ACCEPTED);
	if (tp_share_any() && !looked && gather(policy, listener))
		return RETRY;
	return due ? SLEEP : FAILED;
}

static int accept_new(const struct tp_policy *policy, const struct tp_accept *call)
{
	struct tp_connection connection = {.sender_len = sizeof connection.sender};
	int cancel_state, result;
	connection.fd = take(call, &connection.sender.any, &connection.sender_len);
	if (connection.fd < 0)
		return policy->max_pending ? accept_none(policy, call->fd) : FAILED;
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

/* Sleeps in accept, where the program means to: one that was woken is told it was for
 * nothing. */
static bool sleep_here(const struct tp_accept *call, int why, int mark,
		       int64_t *deadline_ns)
{
	if (tp_sleep_was_woken(mark)) {
		errno = EAGAIN;
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

int tp_listener_accept(const struct tp_accept *call)
{
	const struct tp_policy *policy = tp_policy_get();
	int64_t deadline_ns = 0;
	int result, saved = errno;
	int mark = tp_sleep_take_mark();
	bool blind = false;
	if (policy->state == TP_POLICY_OFF)
		return take(call, call->addr, call->len);
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
	if (tp_share_any() && tp_room_any() && is_waited_for(call->fd) &&
	    (result >= 0 || tp_sleep_was_woken(mark)))
		tp_listener_share(call->fd);
	if (result >= 0)
		errno = saved;
	return result;
}

static bool keep(int listener, const struct tp_connection *connection)
{
	if (tp_ready_keep(listener, connection))
		return true;
	tp_event(connection, TP_OUTCOME_REJECTED, TP_REASON_NO_PLACE, NULL);
	tp_admit_reset(connection->fd);
	return false;
}

static bool has_arrived(int listener)
{
	struct pollfd fd = {.fd = listener, .events = POLLIN};
	return tp_real()->poll(&fd, 1, 0) == 1;
}

/* Takes connections off the kernel's queue until there is one for the program. */
static bool take_ahead(const struct tp_policy *policy, int listener)
{
	tp_sleep_emulate(listener); /* others may be faster */
	do {
		struct tp_connection connection = {.sender_len =
							   sizeof connection.sender};
		int fd = tp_real()->accept(listener, &connection.sender.any,
					   &connection.sender_len);
		if (fd < 0)
			return errno != EAGAIN; /* the program shall see it */
		connection.fd = fd;
		switch (tp_admit(policy, listener, &connection)) {
		case TP_ADMITTED:
			return keep(listener, &connection);
		case TP_WAITING:
			park(policy, listener, &connection);
			break;
		case TP_REFUSED:
			tp_admit_reset(fd);
			break;
		}
	} while (has_arrived(listener));
	return false;
}

/*
 * A listener that the program waits for in poll or select and accepts from: if accept may
 * sleep there, poll and select have to be sure before they report it.
 */
static void learn_manners(int listener)
{
	if (!tp_watch_has(listener, TP_ACCEPTED) || tp_watch_has(listener, TP_CAREFUL) ||
	    tp_watch_has(listener, TP_NONBLOCKING))
		return;
	tp_watch_add(listener,
		     tp_sleep_is_blocking(listener) ? TP_CAREFUL : TP_NONBLOCKING);
}

static bool prepare(const struct tp_policy *policy, int listener, bool arrived)
{
	struct tp_connection connection;
	if (tp_ready_any() && tp_ready_has(listener))
		return true;
	if (tp_room_any() && tp_park_take(policy, listener, &connection))
		return keep(listener, &connection);
	if (!arrived)
		return false;
	learn_manners(listener);
	return tp_watch_has(listener, TP_CAREFUL) ? take_ahead(policy, listener) : true;
}

bool tp_listener_prepare(int listener, bool arrived)
{
	struct backstage stage = enter();
	bool ready = prepare(tp_policy_get(), listener, arrived);
	leave(stage);
	return ready;
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
	return backlog < DEFERRED_BACKLOG ? DEFERRED_BACKLOG : backlog;
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

int tp_listener_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct tp_peer peer;
	union tp_sockaddr kernel;
	socklen_t kernel_len = sizeof kernel;
	if (tp_is_inert() || !tp_peer_get(fd, &peer) || peer.client.family == AF_UNSPEC)
		return tp_real()->getpeername(fd, addr, len);
	if (tp_real()->getpeername(fd, &kernel.any, &kernel_len))
		return -1;
	kernel_len =
		tp_peer_to_kernel(&peer, kernel.any.sa_family, len ? *len : 0, &kernel);
	return copy_out(&kernel, kernel_len, addr, len);
}

static atomic_bool destinations_expected;

void tp_listener_expect_destinations(bool expect)
{
	atomic_store(&destinations_expected, expect);
}

int tp_listener_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct tp_peer peer;
	union tp_sockaddr kernel;
	socklen_t kernel_len = sizeof kernel, room = len ? *len : 0;
	if (!atomic_load_explicit(&destinations_expected, memory_order_relaxed) ||
	    !tp_peer_get(fd, &peer) || !peer.tells_destination)
		return tp_real()->getsockname(fd, addr, len);
	if (tp_real()->getsockname(fd, &kernel.any, &kernel_len))
		return -1;
	socklen_t told =
		tp_peer_destination_to_kernel(&peer, kernel.any.sa_family, room, &kernel);
	return copy_out(&kernel, told ? told : kernel_len, addr, len);
}

static void mirror_door(int listener, int epfd, int op, const struct epoll_event *event)
{
	int door = tp_share_own_door(tp_socket_key(listener));
	if (op == EPOLL_CTL_DEL && tp_room_any())
		tp_pass_on(tp_policy_get(), listener);
	if (door >= 0)
		tp_sets_mirror_door(door, epfd, op, event);
}

int tp_listener_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
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
	uint64_t key = tp_socket_key(listener);
	int fd = tp_socket_next(key, 0);
	return (fd == listener ? tp_socket_next(key, fd + 1) : fd) >= 0;
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
	if (tp_owner_is_copy())
		tp_park_forked();
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
