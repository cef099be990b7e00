/* SPDX-License-Identifier: MIT */
#include "waits.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ahead.h"
#include "clock.h"
#include "listener.h"
#include "ready.h"
#include "real.h"
#include "room.h"
#include "sets.h"
#include "share.h"
#include "sleep.h"
#include "watch.h"

#define ON_STACK 256 /* descriptors; more get a mapping for the time of the call */
#define ROOMS 256    /* rooms watched at once */
#define BLIND_WAIT_NS 50000000
#define READ_EVENTS (POLLIN | POLLRDNORM)

static bool nothing_to_do(void)
{
	return !tp_room_any() && !tp_ready_any() && !tp_watch_has_questions() &&
	       !tp_share_any();
}

/* Memory for descriptors; the caller's own when they are few. */
struct list {
	struct pollfd *fds;
	size_t size; /* of a mapping, 0: on the stack */
};

static bool list_open(struct list *list, struct pollfd *stack, size_t count)
{
	*list = (struct list){.fds = stack};
	if (count <= ON_STACK)
		return true;
	list->size = (count + ROOMS) * sizeof *list->fds;
	list->fds = mmap(NULL, list->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return list->fds != MAP_FAILED;
}

static void list_close(void *list)
{
	struct list *open = list;
	if (open->size)
		munmap(open->fds, open->size);
}

static bool is_watched(const struct pollfd *fd)
{
	return fd->events & READ_EVENTS && tp_watch_has(fd->fd, TP_LISTENS);
}

/* A wait of the program's, with the rooms of its listeners behind its own descriptors. */
struct wait {
	struct pollfd *fds;
	nfds_t count, rooms;
	struct {
		int listener;
		bool is_door; /* of its channel */
	} owners[ROOMS];
	int64_t deadline_ns;
	const sigset_t *mask;
	bool has_space;	 /* fds goes on for ROOMS more */
	bool is_limited; /* the kernel does not take as many */
};

static void add_room(struct wait *wait, int fd, int listener, bool is_door)
{
	wait->fds[wait->count + wait->rooms] =
		(struct pollfd){.fd = fd, .events = POLLIN};
	wait->owners[wait->rooms].listener = listener;
	wait->owners[wait->rooms++].is_door = is_door;
}

/* With the door of its channel. */
static void add_rooms(struct wait *wait, int listener)
{
	int rooms[ROOMS], door = -1;
	size_t n = 0;
	if (tp_share_any())
		door = tp_share_door(tp_socket_key(listener));
	if (door >= 0)
		add_room(wait, door, listener, true);
	if (tp_room_any())
		n = tp_room_descriptors(listener, rooms, ROOMS - wait->rooms);
	for (size_t i = 0; i < n; i++)
		add_room(wait, rooms[i], listener, false);
}

/* A room of the listener has news, or its channel. */
static bool is_news_of(const struct wait *wait, nfds_t room, int listener)
{
	return wait->owners[room].listener == listener &&
	       wait->fds[wait->count + room].revents;
}

static bool room_is_ready(const struct wait *wait, int listener)
{
	for (nfds_t i = 0; i < wait->rooms; i++)
		if (is_news_of(wait, i, listener))
			return true;
	return false;
}

/* A process that has not accepted yet may never: what is in the channel stays there until
 * it does. */
static bool is_knocked_at(const struct wait *wait, int listener)
{
	for (nfds_t i = 0; i < wait->rooms; i++)
		if (wait->owners[i].is_door && is_news_of(wait, i, listener))
			return !tp_watch_has(listener, TP_ACCEPTED) &&
			       tp_share_own_door(tp_socket_key(listener)) >= 0 &&
			       !tp_sleep_in_kernel(listener);
	return false;
}

/* How many of the program's descriptors have news, its listeners only when accept has,
 * too. */
static int count_news(struct wait *wait)
{
	int news = 0;
	for (nfds_t i = 0; i < wait->count; i++) {
		struct pollfd *fd = &wait->fds[i];
		bool arrived = fd->revents & READ_EVENTS ||
			       (is_watched(fd) && is_knocked_at(wait, fd->fd));
		if (is_watched(fd) &&
		    (arrived || room_is_ready(wait, fd->fd) || tp_ready_any())) {
			fd->revents &= (short)~READ_EVENTS;
			if (tp_ahead_prepare(fd->fd, arrived))
				fd->revents |= fd->events & READ_EVENTS;
		}
		news += fd->revents != 0;
	}
	return news;
}

/* Whether accept on one of the listeners has something to hand out already. */
static bool look_ahead(struct wait *wait)
{
	bool ready = false;
	for (nfds_t i = 0; i < wait->count; i++) {
		if (!is_watched(&wait->fds[i]))
			continue;
		tp_watch_add(wait->fds[i].fd, TP_POLLED);
		if (!ready && (tp_room_any() || tp_ready_any()))
			ready = tp_ahead_prepare(wait->fds[i].fd, false);
	}
	return ready;
}

static int wait_once(struct wait *wait, bool ready)
{
	int64_t left = wait->deadline_ns == TP_NEVER ? TP_NEVER
						     : wait->deadline_ns - tp_clock_ns();
	if (ready || left < 0)
		left = 0;
	if (!wait->rooms && wait->is_limited && left > BLIND_WAIT_NS)
		left = BLIND_WAIT_NS;
	struct timespec timeout = tp_clock_timespec(left);
	return tp_real()->ppoll(wait->fds, wait->count + wait->rooms,
				left == TP_NEVER ? NULL : &timeout, wait->mask);
}

static void collect_rooms(struct wait *wait)
{
	wait->rooms = 0;
	if ((!tp_room_any() && !tp_share_any()) || wait->is_limited || !wait->has_space)
		return;
	for (nfds_t i = 0; i < wait->count && wait->rooms < ROOMS; i++)
		if (is_watched(&wait->fds[i]))
			add_rooms(wait, wait->fds[i].fd);
}

/* One wait; how many have news, 0 for a wake-up that came to nothing, or -1. */
static int wait_and_look(struct wait *wait)
{
	bool ready = look_ahead(wait);
	collect_rooms(wait);
	int n = wait_once(wait, ready);
	if (n < 0 && errno == EINVAL && wait->rooms) {
		/* More descriptors than RLIMIT_NOFILE allows: look at the rooms now and
		 * then. */
		wait->is_limited = true;
		return 0;
	}
	for (nfds_t i = 0; n > 0 && i < wait->rooms; i++)
		if (wait->owners[i].is_door && wait->fds[wait->count + i].revents &&
		    tp_watch_has(wait->owners[i].listener, TP_ACCEPTED))
			tp_listener_gather(wait->owners[i].listener);
	return n < 0 ? n : count_news(wait);
}

/* The process goes its way: who is parked waits where others look, too. */
static void share(const struct wait *wait)
{
	if (!tp_room_any() || !tp_share_any())
		return;
	for (nfds_t i = 0; i < wait->count; i++)
		if (is_watched(&wait->fds[i]))
			tp_listener_share(wait->fds[i].fd);
}

static bool is_over(const struct wait *wait)
{
	return wait->deadline_ns != TP_NEVER && tp_clock_ns() >= wait->deadline_ns;
}

static int wait_all(struct wait *wait)
{
	int news;
	do
		news = wait_and_look(wait);
	while (!news && !is_over(wait) && (wait->has_space || !tp_room_any()));
	if (news > 0)
		tp_sleep_note_poll(wait->count == 1);
	share(wait);
	return news;
}

static bool has_listener(const struct pollfd *fds, nfds_t count)
{
	bool found = false;
	for (nfds_t i = 0; i < count; i++)
		if (is_watched(&fds[i]))
			found = true;
	return found;
}

static int poll_in_copy(struct pollfd *fds, nfds_t count, int64_t deadline_ns,
			const sigset_t *mask)
{
	struct pollfd stack[ON_STACK + ROOMS];
	struct list list;
	int news;
	if (!list_open(&list, stack, count)) {
		errno = ENOMEM;
		return -1;
	}
	struct wait wait = {.fds = list.fds,
			    .count = count,
			    .deadline_ns = deadline_ns,
			    .mask = mask,
			    .has_space = true};
	memcpy(wait.fds, fds, count * sizeof *fds);
	pthread_cleanup_push(list_close, &list);
	news = wait_all(&wait);
	for (nfds_t i = 0; news >= 0 && i < count; i++)
		fds[i].revents = wait.fds[i].revents;
	pthread_cleanup_pop(1);
	return news;
}

/* In the program's own array as long as there is no room to be watched beside it. */
static int poll_with_rooms(struct pollfd *fds, nfds_t count, int64_t deadline_ns,
			   const sigset_t *mask)
{
	struct wait wait = {
		.fds = fds, .count = count, .deadline_ns = deadline_ns, .mask = mask};
	if (!tp_room_any() && !tp_share_any()) {
		int news = wait_all(&wait);
		if (news || is_over(&wait))
			return news;
	}
	return poll_in_copy(fds, count, deadline_ns, mask);
}

int tp_waits_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	if (nothing_to_do() || !has_listener(fds, count))
		return tp_real()->poll(fds, count, timeout_ms);
	return poll_with_rooms(fds, count,
			       timeout_ms < 0
				       ? TP_NEVER
				       : tp_clock_deadline((int64_t)timeout_ms * 1000000),
			       NULL);
}

static bool is_valid(const struct timespec *timeout)
{
	return !timeout || (timeout->tv_sec >= 0 && timeout->tv_nsec >= 0 &&
			    timeout->tv_nsec < 1000000000);
}

int tp_waits_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		   const sigset_t *mask)
{
	if (nothing_to_do() || !is_valid(timeout) || !has_listener(fds, count))
		return tp_real()->ppoll(fds, count, timeout, mask);
	return poll_with_rooms(fds, count, tp_clock_deadline_of(timeout), mask);
}

/* The three sets of select, of any size the program has made them. */
struct sets {
	int count;
	unsigned long *sets[3];
};

#define BITS ((int)(8 * sizeof(unsigned long)))

/* What select means by readable, writable and exceptional (select(2), "Correspondence").
 */
static const short set_events[3] = {POLLIN | POLLRDNORM | POLLRDBAND,
				    POLLOUT | POLLWRNORM | POLLWRBAND, POLLPRI};
static const short set_results[3] = {
	POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR,
	POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR,
	POLLPRI,
};

/*
 * The kernel looks at no more descriptors than its table has, so programs pass any count
 * with sets of the usual size. The number is in /proc only; -1 where it is missing.
 */
static int table_size(void)
{
	char text[2048];
	int size = -1, file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return -1;
	ssize_t n = read(file, text, sizeof text - 1);
	tp_real()->close(file);
	text[n > 0 ? n : 0] = '\0';
	const char *line = strstr(text, "FDSize:");
	if (line)
		for (size = 0, line += strcspn(line, "0123456789");
		     *line >= '0' && *line <= '9';)
			size = size * 10 + (*line++ - '0');
	return size;
}

static int clamp(int count)
{
	if (count <= FD_SETSIZE)
		return count;
	int size = table_size();
	return count < size ? count : size;
}

static struct sets make_sets(int count, fd_set *readable, fd_set *writable,
			     fd_set *exceptional)
{
	return (struct sets){nothing_to_do() ? -1 : clamp(count),
			     {(unsigned long *)(void *)readable,
			      (unsigned long *)(void *)writable,
			      (unsigned long *)(void *)exceptional}};
}

static short wanted_events(const struct sets *sets, int fd)
{
	short events = 0;
	for (int i = 0; i < 3; i++)
		if (sets->sets[i] && sets->sets[i][fd / BITS] >> fd % BITS & 1)
			events |= set_events[i];
	return events;
}

static bool sets_have_listener(const struct sets *sets)
{
	bool found = false;
	for (int fd = 0; fd < sets->count; fd++)
		if (wanted_events(sets, fd) & POLLIN && tp_watch_has(fd, TP_LISTENS))
			found = true;
	return found;
}

static nfds_t to_poll(const struct sets *sets, struct pollfd *fds)
{
	nfds_t n = 0;
	for (int fd = 0; fd < sets->count; fd++) {
		short events = wanted_events(sets, fd);
		if (events && fds)
			fds[n] = (struct pollfd){.fd = fd, .events = events};
		n += events != 0;
	}
	return n;
}

static void clear_sets(const struct sets *sets)
{
	size_t words = ((size_t)sets->count + BITS - 1) / BITS;
	for (int i = 0; i < 3; i++)
		if (sets->sets[i])
			memset(sets->sets[i], 0, words * sizeof(unsigned long));
}

/* Fills the sets from what poll said; returns the number of bits. */
static int from_poll(const struct sets *sets, const struct pollfd *fds, nfds_t count)
{
	int bits = 0;
	clear_sets(sets);
	for (nfds_t n = 0; n < count; n++) {
		for (int i = 0; i < 3; i++) {
			if (!(fds[n].events & set_events[i]) ||
			    !(fds[n].revents & set_results[i]))
				continue;
			sets->sets[i][fds[n].fd / BITS] |= 1ul << fds[n].fd % BITS;
			bits++;
		}
	}
	return bits;
}

static bool any_invalid(const struct pollfd *fds, nfds_t count)
{
	for (nfds_t i = 0; i < count; i++)
		if (fds[i].revents & POLLNVAL)
			return true;
	return false;
}

/* POLLERR and POLLHUP come unasked from poll; select passes over what is not in a set. */
static int wait_for_bits(struct wait *wait, const struct sets *sets)
{
	for (;;) {
		int news = wait_all(wait);
		if (news < 0)
			return news;
		if (any_invalid(wait->fds, wait->count)) {
			errno = EBADF;
			return -1;
		}
		int bits = from_poll(sets, wait->fds, wait->count);
		if (bits || !news)
			return bits;
		for (nfds_t i = 0; i < wait->count; i++)
			if (wait->fds[i].revents)
				wait->fds[i].fd = -1;
	}
}

static int select_with_rooms(const struct sets *sets, int64_t deadline_ns,
			     const sigset_t *mask)
{
	struct pollfd stack[ON_STACK + ROOMS];
	struct list list;
	nfds_t count = to_poll(sets, NULL);
	int bits;
	if (!list_open(&list, stack, count)) {
		errno = ENOMEM;
		return -1;
	}
	to_poll(sets, list.fds);
	struct wait wait = {.fds = list.fds,
			    .count = count,
			    .deadline_ns = deadline_ns,
			    .mask = mask,
			    .has_space = true};
	pthread_cleanup_push(list_close, &list);
	bits = wait_for_bits(&wait, sets);
	pthread_cleanup_pop(1);
	return bits;
}

int tp_waits_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
		    struct timeval *timeout)
{
	const struct sets sets = make_sets(count, readable, writable, exceptional);
	bool valid = sets.count >= 0 &&
		     (!timeout || (timeout->tv_sec >= 0 && timeout->tv_usec >= 0));
	if (nothing_to_do() || !valid || !sets_have_listener(&sets))
		return tp_real()->select(count, readable, writable, exceptional, timeout);
	struct timespec limit = {0};
	if (timeout)
		limit = (struct timespec){timeout->tv_sec + timeout->tv_usec / 1000000,
					  timeout->tv_usec % 1000000 * 1000};
	int64_t deadline_ns = tp_clock_deadline_of(timeout ? &limit : NULL);
	int bits = select_with_rooms(&sets, deadline_ns, NULL);
	if (timeout && deadline_ns != TP_NEVER) { /* Linux tells the time that is left */
		int64_t left = deadline_ns - tp_clock_ns();
		limit = tp_clock_timespec(left > 0 ? left : 0);
		*timeout = (struct timeval){limit.tv_sec, limit.tv_nsec / 1000};
	}
	return bits;
}

int tp_waits_pselect(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
		     const struct timespec *timeout, const sigset_t *mask)
{
	const struct sets sets = make_sets(count, readable, writable, exceptional);
	if (nothing_to_do() || sets.count < 0 || !is_valid(timeout) ||
	    !sets_have_listener(&sets))
		return tp_real()->pselect(count, readable, writable, exceptional, timeout,
					  mask);
	return select_with_rooms(&sets, tp_clock_deadline_of(timeout), mask);
}
