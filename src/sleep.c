/* SPDX-License-Identifier: MIT */
#include "sleep.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "clock.h"
#include "real.h"
#include "room.h"
#include "sets.h"
#include "share.h"
#include "watch.h"

#define ROOMS 16
#define HEAD_START_NS 1000000
#define LONG_HEAD_START_NS 20000000 /* others may still be in the kernel's accept */
#define TIME_OVER (-2)

/*
 * The mark on a listener that is emulated: a tag by which others know it, and what nobody
 * can guess. For as the listener's Fast Open key it makes the cookies by which strangers
 * prove their address (RFC 7413, tcp(7)).
 */
static const uint8_t tag[6] = {0x5c, 0x0e, 0xb3, 0x77, 0x19, 0x02};
static struct {
	uint8_t bytes[16];
	atomic_bool made;
} our_mark;

/* The finalizer of SplitMix64: every bit of the result depends on every bit. */
static uint64_t mix(uint64_t word)
{
	word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9u;
	word = (word ^ word >> 27) * 0x94d049bb133111ebu;
	return word ^ word >> 31;
}

/* Out of the 16 random bytes that the kernel gives each program (getauxval(3)), from
 * which they cannot be told: libc has its stack guard from them. */
bool tp_sleep_make_mark(void)
{
	const void *random = (const void *)getauxval(AT_RANDOM);
	uint64_t words[2];
	if (atomic_load_explicit(&our_mark.made, memory_order_acquire) || !random)
		return random;
	memcpy(words, random, sizeof words);
	words[0] = mix(words[0] ^ mix(words[1]));
	words[1] = mix(words[0] ^ words[1]);
	memcpy(our_mark.bytes, tag, sizeof tag);
	memcpy(our_mark.bytes + sizeof tag, words, sizeof our_mark.bytes - sizeof tag);
	atomic_store_explicit(&our_mark.made, true, memory_order_release);
	return true;
}

/* These two say what was known last where the kernel does not tell (seccomp(2)). */

enum key { NO_KEY, MARK, FOREIGN };

static enum key read_key(int listener)
{
	uint8_t key[32];
	socklen_t size = sizeof key;
	if (getsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, &size))
		return tp_watch_has(listener, TP_EMULATED) ? MARK : NO_KEY;
	if (!size)
		return NO_KEY;
	return size == sizeof our_mark.bytes && !memcmp(key, tag, sizeof tag) ? MARK
									      : FOREIGN;
}

static bool has_mark(int listener)
{
	return read_key(listener) == MARK;
}

static bool has_flag(int listener)
{
	int flags = fcntl(listener, F_GETFL);
	if (flags < 0)
		return tp_watch_has(listener, TP_EMULATED) ||
		       tp_watch_has(listener, TP_NONBLOCKING);
	return flags & O_NONBLOCK;
}

bool tp_sleep_is_blocking(int listener)
{
	return !has_flag(listener) || has_mark(listener);
}

bool tp_sleep_in_kernel(int listener)
{
	return !has_flag(listener);
}

bool tp_sleep_is_due(int listener)
{
	if (tp_watch_has(listener, TP_NONBLOCKING))
		return false;
	/* Without the flag it was SO_RCVTIMEO. */
	int saved = errno;
	bool flag = has_flag(listener), due = flag && has_mark(listener);
	if (flag)
		tp_watch_add(listener, due ? TP_EMULATED : TP_NONBLOCKING);
	errno = saved;
	return due;
}

/* The program's own key, which its other servers may have too, stays. */
static bool put_mark(int listener)
{
	enum key key = read_key(listener);
	if (key == NO_KEY && tp_sleep_make_mark())
		return !setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY,
				   our_mark.bytes, sizeof our_mark.bytes);
	errno = ENOPROTOOPT;
	return key == MARK;
}

/* Where the kernel does not tell (seccomp(2)), it is believed. */
static bool is_listener(int fd)
{
	int listens;
	socklen_t size = sizeof listens;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size))
		return errno != EBADF && errno != ENOTSOCK;
	return listens;
}

bool tp_sleep_emulate(int listener)
{
	int flags = fcntl(listener, F_GETFL);
	if (flags < 0)
		return false;
	if (!is_listener(listener)) {
		tp_watch_forget(listener); /* another has its number by now */
		errno = EINVAL;
		return false;
	}
	bool flagged = flags & O_NONBLOCK;
	if (flagged && !has_mark(listener)) {
		errno = EINVAL;
		return false;
	}
	if (!put_mark(listener))
		return false;
	if (!flagged && fcntl(listener, F_SETFL, flags | O_NONBLOCK))
		return false;
	tp_watch_add(listener, TP_EMULATED);
	return true;
}

void tp_sleep_stay_awake(int listener)
{
	int room;
	if (has_flag(listener) || !tp_room_descriptors(listener, &room, 1))
		return;
	tp_watch_drop(listener, TP_NONBLOCKING);
	tp_sleep_emulate(listener);
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

/* What the program's signal handlers make of an accept that sleeps; those of blocked
 * signals are not called. */
struct handlers {
	bool interrupt;	     /* some, without SA_RESTART */
	bool restart;	     /* others: it goes on */
	sigset_t restarting; /* which these are */
	sigset_t blocked;
};

static void look_up_handlers(struct handlers *handlers)
{
	*handlers = (struct handlers){0};
	sigemptyset(&handlers->restarting);
	pthread_sigmask(SIG_BLOCK, NULL, &handlers->blocked);
	for (int number = 1; number < NSIG; number++) {
		struct sigaction action;
		if (sigismember(&handlers->blocked, number) == 1 ||
		    sigaction(number, NULL, &action) || action.sa_handler == SIG_DFL ||
		    action.sa_handler == SIG_IGN)
			continue;
		bool restarts = action.sa_flags & SA_RESTART;
		if (restarts)
			sigaddset(&handlers->restarting, number);
		handlers->restart |= restarts;
		handlers->interrupt |= !restarts;
	}
}

/* What woke the thread: NOTHING, POLLED or a set. In the static block, which also a
 * library that is loaded late gets. */
enum { NOTHING = -1, POLLED = -2 };
static _Thread_local int woken_by __attribute__((tls_model("initial-exec"))) = NOTHING;
static _Thread_local bool waits __attribute__((tls_model("initial-exec")));

void tp_sleep_note_poll(bool alone)
{
	woken_by = alone ? NOTHING : POLLED;
	waits = true;
}

void tp_sleep_note_epoll(int epfd)
{
	woken_by = epfd;
	waits = true;
}

bool tp_sleep_has_waited(void)
{
	return waits;
}

int tp_sleep_take_mark(void)
{
	int mark = woken_by;
	woken_by = NOTHING;
	return mark;
}

bool tp_sleep_was_woken(int mark)
{
	size_t index = 0;
	uint64_t data;
	return mark == POLLED || (mark >= 0 && tp_sets_next(mark, &index, &data) >= 0);
}

/* The listener, its rooms and the door of its channel, to be polled. */
struct bed {
	struct pollfd fds[1 + ROOMS + 2]; /* the last is for signals */
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
	const struct timespec no_time = {0},
			      moment = {.tv_nsec = tp_share_any() ? LONG_HEAD_START_NS
								  : HEAD_START_NS};
	if (tp_real()->ppoll(bed->fds + 1, bed->rooms, &moment, NULL))
		return 1;
	return tp_real()->ppoll(bed->fds, bed->count, &no_time, NULL);
}

static void close_signals(void *fd)
{
	tp_real()->close(*(int *)fd);
}

/*
 * poll never goes on after a handler and does not tell which it was. So the signals with
 * SA_RESTART are held back for as long, and a signalfd(2) ends the sleep instead.
 */
static int sleep_beside_signals(struct bed *bed, const struct handlers *handlers)
{
	sigset_t mask;
	int n, signals = signalfd(-1, &handlers->restarting, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		return tp_real()->ppoll(bed->fds, bed->count, NULL, NULL);
	sigorset(&mask, &handlers->blocked, &handlers->restarting);
	bed->fds[bed->count] = (struct pollfd){.fd = signals, .events = POLLIN};
	pthread_cleanup_push(close_signals, &signals);
	n = tp_real()->ppoll(bed->fds, bed->count + 1, NULL, &mask);
	pthread_cleanup_pop(1);
	return n;
}

/* As the kernel's accept: it goes on after handlers with SA_RESTART (signal(7)). */
static int sleep_for_ever(struct bed *bed)
{
	struct handlers handlers;
	look_up_handlers(&handlers);
	if (handlers.restart && handlers.interrupt)
		return sleep_beside_signals(bed, &handlers);
	int n = tp_real()->ppoll(bed->fds, bed->count, NULL, NULL);
	return n < 0 && errno == EINTR && !handlers.interrupt ? 0 : n;
}

/* ... but only without SO_RCVTIMEO. */
static int sleep_until(struct bed *bed, int64_t deadline_ns)
{
	int64_t left = deadline_ns - tp_clock_ns();
	struct timespec timeout = tp_clock_timespec(left > 0 ? left : 0);
	int n = tp_real()->ppoll(bed->fds, bed->count, &timeout, NULL);
	return n ? n : TIME_OVER;
}

static int wait_once(int listener, int64_t deadline_ns)
{
	struct bed bed;
	make_bed(&bed, listener);
	int n = deadline_ns == TP_NEVER ? sleep_for_ever(&bed)
					: sleep_until(&bed, deadline_ns);
	return n > 0 ? let_others_go_first(&bed) : n;
}

bool tp_sleep(int listener, int64_t deadline_ns)
{
	int n;
	do
		n = wait_once(listener, deadline_ns);
	while (!n);
	if (n == TIME_OVER)
		errno = EAGAIN;
	return n > 0;
}
