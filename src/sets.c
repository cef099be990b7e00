/* SPDX-License-Identifier: MIT */
#include "sets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "raise.h"
#include "real.h"

#define NOTES 512 /* what does not fit is looked up in /proc each time */
#define FREE (-1)
#define BUSY (-2)

static struct note {
	atomic_int listener; /* a descriptor, FREE or BUSY */
	atomic_int epfd;
	atomic_bool inherited; /* the set is a parent's, too */
	_Atomic uint32_t events;
	_Atomic uint64_t data;
} notes[NOTES];

static atomic_size_t used;

/* Notes start as zero, so descriptors are kept one higher. */
static int listener_of(const struct note *note)
{
	return atomic_load_explicit(&note->listener, memory_order_acquire) - 1;
}

uint64_t tp_socket_key(int fd)
{
	uint64_t key;
	socklen_t size = sizeof key;
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &key, &size) ? 0 : key;
}

static void fill(struct note *note, const struct epoll_event *event)
{
	atomic_store(&note->inherited, false);
	atomic_store(&note->events, event->events);
	atomic_store(&note->data, event->data.u64);
}

static struct note *find(int epfd, int listener)
{
	for (size_t i = 0; i < atomic_load(&used); i++)
		if (listener_of(&notes[i]) == listener &&
		    atomic_load(&notes[i].epfd) == epfd)
			return &notes[i];
	return NULL;
}

static void make(int epfd, int listener, const struct epoll_event *event)
{
	for (size_t i = 0; i < NOTES; i++) {
		int expected = FREE + 1;
		if (!atomic_compare_exchange_strong(&notes[i].listener, &expected,
						    BUSY + 1))
			continue;
		tp_raise(&used, i + 1);
		atomic_store(&notes[i].epfd, epfd);
		fill(&notes[i], event);
		atomic_store_explicit(&notes[i].listener, listener + 1,
				      memory_order_release);
		return;
	}
}

void tp_sets_note(int epfd, int op, int listener, const struct epoll_event *event)
{
	struct note *note = find(epfd, listener);
	if (op == EPOLL_CTL_DEL && note)
		atomic_store(&note->listener, FREE + 1);
	else if (op != EPOLL_CTL_DEL && note)
		fill(note, event);
	else if (op != EPOLL_CTL_DEL)
		make(epfd, listener, event);
}

void tp_sets_forget(int listener)
{
	for (size_t i = 0; i < atomic_load(&used); i++)
		if (listener_of(&notes[i]) == listener)
			atomic_store(&notes[i].listener, FREE + 1);
}

enum tp_answer tp_sets_is_member(int epfd, int fd)
{
	struct epoll_event none = {0};
	if (!tp_real()->epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &none)) {
		tp_real()->epoll_ctl(epfd, EPOLL_CTL_DEL, fd, &none);
		return TP_NO;
	}
	return errno == EEXIST			   ? TP_YES
	       : errno == EBADF || errno == EINVAL ? TP_NO
						   : TP_UNSURE;
}

/*
 * The room's own registration. EPOLLEXCLUSIVE is not allowed for an epoll descriptor; a
 * one-shot listener has fired or will be armed again by the program.
 */
static struct epoll_event for_room(uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events & ~(uint32_t)EPOLLEXCLUSIVE};
	event.data.u64 = data;
	return event;
}

static bool add(int room, int epfd, struct epoll_event event)
{
	return !tp_real()->epoll_ctl(epfd, EPOLL_CTL_ADD, room, &event) ||
	       (errno == EEXIST &&
		!tp_real()->epoll_ctl(epfd, EPOLL_CTL_MOD, room, &event));
}

/* How many sets took a room, or, below 0, refused it when none did. */
struct tally {
	int took, refused;
};

static void count(struct tally *tally, bool took)
{
	tally->took += took;
	tally->refused += !took;
}

static int sum(struct tally tally)
{
	return tally.took ? tally.took : -tally.refused;
}

/* A door shows what is in the channel, whatever the program awaits of its listener. */
static struct epoll_event for_door(uint32_t events, uint64_t data)
{
	struct epoll_event event = for_room(events, data);
	if (events & EPOLLIN && !(events & TP_DOOR_EVENT))
		event.events |= TP_DOOR_EVENT;
	else
		event.events &= ~(uint32_t)(EPOLLIN | TP_DOOR_EVENT);
	return event;
}

/* One that shows nothing: whether a one-shot listener has fired is not in the notes. */
static struct epoll_event for_fired(uint32_t events, uint64_t data)
{
	return for_room(events & (EPOLLET | EPOLLONESHOT), data);
}

static bool is_noted_oneshot(int listener)
{
	for (size_t i = 0; i < atomic_load(&used); i++)
		if (listener_of(&notes[i]) == listener &&
		    atomic_load(&notes[i].events) & EPOLLONESHOT)
			return true;
	return false;
}

static int attach_noted(int fd, int listener, uint64_t key,
			struct epoll_event (*registration)(uint32_t, uint64_t))
{
	struct tally tally = {0};
	for (size_t i = 0; i < atomic_load(&used); i++) {
		int noted = listener_of(&notes[i]), epfd = atomic_load(&notes[i].epfd);
		if (noted < 0 || (noted != listener && tp_socket_key(noted) != key))
			continue;
		if (tp_sets_is_member(epfd, noted) == TP_NO) {
			atomic_store(&notes[i].listener, FREE + 1);
			continue;
		}
		count(&tally, add(fd, epfd,
				  registration(atomic_load(&notes[i].events),
					       atomic_load(&notes[i].data))));
	}
	return sum(tally);
}

/* The number behind a word of a line of fdinfo: "tfd:  5 events: 19 data: 7f...". */
static bool field(const char *line, const char *word, unsigned base, uint64_t *number)
{
	const char *at = strstr(line, word);
	if (!at)
		return false;
	at += strlen(word);
	while (*at == ' ')
		at++;
	*number = 0;
	for (;; at++) {
		unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
				 : *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a' + 10)
							    : 16;
		if (digit >= base)
			return true;
		*number = *number * base + digit;
	}
}

/* What is looked for in /proc. */
struct search {
	int room;
	uint64_t key;
	int epfd; /* the set that is being read */
	struct tally tally;
};

static void read_target(struct search *search, const char *line)
{
	uint64_t fd, events, data;
	if (!field(line, "tfd:", 10, &fd) || !field(line, "events:", 16, &events) ||
	    !field(line, "data:", 16, &data) || tp_socket_key((int)fd) != search->key)
		return;
	struct epoll_event event = {.events = (uint32_t)events};
	event.data.u64 = data;
	tp_sets_note(search->epfd, EPOLL_CTL_MOD, (int)fd, &event);
	count(&search->tally,
	      add(search->room, search->epfd, for_room(event.events, data)));
}

/* Each line of the file that was read whole or in part; what is cut stays for the next
 * read. */
static void read_fdinfo(struct search *search, int file)
{
	char text[1024];
	size_t held = 0;
	ssize_t n;
	while ((n = read(file, text + held, sizeof text - 1 - held)) > 0) {
		char *line = text, *end;
		text[held + (size_t)n] = '\0';
		while ((end = strchr(line, '\n'))) {
			*end = '\0';
			read_target(search, line);
			line = end + 1;
		}
		held = strlen(line);
		memmove(text, line, held);
		if (held == sizeof text - 1)
			held = 0;
	}
}

static void look_into(struct search *search, int directory, const char *name)
{
	static const char wanted[] = "anon_inode:[eventpoll]";
	char path[32] = "../fdinfo/", target[sizeof wanted];
	ssize_t n = readlinkat(directory, name, target, sizeof target);
	if (n != (ssize_t)sizeof wanted - 1 || memcmp(target, wanted, sizeof wanted - 1))
		return;
	search->epfd = 0;
	for (const char *digit = name; *digit; digit++)
		search->epfd = search->epfd * 10 + (*digit - '0');
	strncat(path, name, sizeof path - strlen(path) - 1);
	int file = openat(directory, path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return;
	read_fdinfo(search, file);
	tp_real()->close(file);
}

/* Every epoll set of this process that holds the listener; /proc may be missing. */
static int search_proc(int room, uint64_t key)
{
	struct search search = {.room = room, .key = key};
	_Alignas(struct dirent64) char entries[2048] = {0};
	int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;
	if (directory < 0)
		return 0;
	while ((n = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0) {
		for (long at = 0; at < n;) {
			const struct dirent64 *entry = (const void *)(entries + at);
			if (entry->d_name[0] != '.')
				look_into(&search, directory, entry->d_name);
			at += entry->d_reclen;
		}
	}
	tp_real()->close(directory);
	return sum(search.tally);
}

int tp_sets_attach(int room, int listener, uint64_t key, bool search)
{
	int attached = 0, found = 0;
	if (!is_noted_oneshot(listener))
		attached = attach_noted(room, listener, key, for_room);
	else if (attach_noted(room, listener, key, for_fired))
		search = true; /* /proc knows */
	if (attached <= 0 && search)
		found = search_proc(room, key);
	if (attached > 0 || found > 0)
		return attached > 0 ? attached : found;
	/* Better woken for nothing than not at all. */
	attached = attach_noted(room, listener, key, for_room);
	return attached ? attached : found;
}

void tp_sets_attach_door(int door, int listener, uint64_t key)
{
	attach_noted(door, listener, key, for_door);
}

static void mirror(int fd, int epfd, int op, const struct epoll_event *event,
		   struct epoll_event (*registration)(uint32_t, uint64_t))
{
	struct epoll_event none = {0};
	if (op == EPOLL_CTL_DEL)
		tp_real()->epoll_ctl(epfd, op, fd, &none);
	else
		add(fd, epfd, registration(event->events, event->data.u64));
}

void tp_sets_mirror(int room, int epfd, int op, const struct epoll_event *event)
{
	mirror(room, epfd, op, event, for_room);
}

void tp_sets_mirror_door(int door, int epfd, int op, const struct epoll_event *event)
{
	mirror(door, epfd, op, event, for_door);
}

void tp_sets_leave(int door, int listener)
{
	for (size_t i = 0; i < atomic_load(&used); i++)
		if (listener_of(&notes[i]) == listener &&
		    !atomic_load(&notes[i].inherited))
			mirror(door, atomic_load(&notes[i].epfd), EPOLL_CTL_DEL, NULL,
			       for_door);
}

void tp_sets_forked(void)
{
	for (size_t i = 0; i < atomic_load(&used); i++)
		if (listener_of(&notes[i]) >= 0)
			atomic_store(&notes[i].inherited, true);
}

bool tp_sets_hold(int listener)
{
	for (size_t i = 0; i < atomic_load(&used); i++)
		if (listener_of(&notes[i]) == listener)
			return true;
	return false;
}

int tp_sets_next(int epfd, size_t *index, uint64_t *data)
{
	while (*index < atomic_load(&used)) {
		const struct note *note = &notes[(*index)++];
		int listener = listener_of(note);
		if (listener < 0 || atomic_load(&note->epfd) != epfd)
			continue;
		*data = atomic_load(&note->data);
		return listener;
	}
	return -1;
}
