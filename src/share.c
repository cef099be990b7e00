/* SPDX-License-Identifier: MIT */
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "descriptors.h"
#include "real.h"
#include "sets.h"

#define CHANNELS 32
#define QUEUE_BYTES (4 << 20) /* the kernel cuts it to net.core.wmem_max */
/* Where a program that comes after exec looks for channels; out of the way of those who
 * expect the lowest numbers. */
#define LOWEST_FD 190
#define HIGHEST_FD (LOWEST_FD + 2 * CHANNELS)

/* An end, with its own tp_socket_key: programs close what they do not know. */
struct end {
	atomic_int fd;
	_Atomic uint64_t own;
};

static struct channel {
	_Atomic uint64_t key; /* of the listener; 0: none, BUSY: being made */
	struct end in, out;
	atomic_int maker; /* the pid of who made it, 0: it came by exec */
} channels[CHANNELS];

#define BUSY UINT64_MAX

atomic_int tp_share_count;
static atomic_int channel_count;

/*
 * What an end is called (unix(7), abstract addresses) tells whose it is, in whatever
 * process. The two ends are connected to each other, so nobody else can send to them.
 */
#define TAG "truepeer/2/" /* with the layout's version */

struct name {
	sa_family_t family;
	char zero, tag[sizeof TAG - 1], key[16], end, own[16]; /* in hexadecimal */
};

enum { IN = '>', OUT = '<' };

static void put_hex(char digits[16], uint64_t number)
{
	for (int i = 15; i >= 0; i--, number >>= 4)
		digits[i] = "0123456789abcdef"[number & 15];
}

static uint64_t take_hex(const char digits[16])
{
	uint64_t number = 0;
	for (int i = 0; i < 16; i++)
		number = number << 4 | (uint64_t)(digits[i] > '9' ? digits[i] - 'a' + 10
								  : digits[i] - '0');
	return number;
}

static struct name make_name(uint64_t key, char end, uint64_t own)
{
	struct name name = {.family = AF_UNIX, .end = end};
	memcpy(name.tag, TAG, sizeof name.tag);
	put_hex(name.key, key);
	put_hex(name.own, own);
	return name;
}

/* Whether the descriptor is called so, and rightly: the name could be somebody else's by
 * now. Where the socket does not tell who it is (seccomp(2)), the name has to do. */
static bool is_called(int fd, uint64_t key, char end)
{
	uint64_t own = tp_socket_key(fd);
	struct name wanted = make_name(key, end, own), name;
	socklen_t len = sizeof name;
	return fd >= 0 && !tp_real()->getsockname(fd, (struct sockaddr *)&name, &len) &&
	       len == sizeof name &&
	       !memcmp(&name, &wanted, own ? sizeof name : offsetof(struct name, own));
}

static void set_end(struct end *end, int fd, uint64_t own)
{
	atomic_store(&end->own, own);
	atomic_store(&end->fd, fd);
}

/* The descriptor, if it is still what it was, or -1. */
static int fd_of(const struct channel *channel, uint64_t key, char which)
{
	const struct end *end = which == IN ? &channel->in : &channel->out;
	int fd = atomic_load(&end->fd);
	uint64_t own = tp_socket_key(fd), known = atomic_load(&end->own);
	bool same = own && known ? own == known : is_called(fd, key, which);
	return same ? fd : -1;
}

static struct channel *find(uint64_t key)
{
	for (size_t i = 0; key && i < CHANNELS; i++)
		if (atomic_load(&channels[i].key) == key)
			return &channels[i];
	return NULL;
}

static void forget(struct channel *channel, uint64_t key)
{
	int in = fd_of(channel, key, IN), out = fd_of(channel, key, OUT);
	if (in >= 0)
		tp_real()->close(in);
	if (out >= 0)
		tp_real()->close(out);
	if (atomic_compare_exchange_strong(&channel->key, &key, 0))
		atomic_fetch_sub(&channel_count, 1);
}

/* An end of the listener's channel, or -1; one that has lost it is forgotten. */
static int find_end(uint64_t key, char which)
{
	struct channel *channel = find(key);
	int fd = channel ? fd_of(channel, key, which) : -1;
	if (channel && fd < 0)
		forget(channel, key);
	return fd;
}

static struct channel *take_place(void)
{
	for (size_t i = 0; i < CHANNELS; i++) {
		uint64_t none = 0;
		if (atomic_compare_exchange_strong(&channels[i].key, &none, BUSY))
			return &channels[i];
	}
	return NULL;
}

/* At a higher number; -1 if there is none. */
static int lift(int fd)
{
	int lifted = fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_FD);
	tp_real()->close(fd);
	if (lifted < HIGHEST_FD)
		return lifted;
	tp_real()->close(lifted);
	return -1;
}

/* Its own tp_socket_key, or 0. */
static uint64_t call_it(int fd, uint64_t key, char end)
{
	uint64_t own = tp_socket_key(fd);
	struct name name = make_name(key, end, own);
	return own && !bind(fd, (struct sockaddr *)&name, sizeof name) ? own : 0;
}

static bool open_ends(struct channel *channel, uint64_t key)
{
	int ends[2], bytes = QUEUE_BYTES;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
		return false;
	ends[0] = lift(ends[0]);
	ends[1] = lift(ends[1]);
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
	uint64_t in = call_it(ends[0], key, IN), out = call_it(ends[1], key, OUT);
	if (in && out) {
		atomic_store(&channel->maker, getpid());
		set_end(&channel->in, ends[0], in);
		set_end(&channel->out, ends[1], out);
		return true;
	}
	for (int i = 0; i < 2; i++)
		if (ends[i] >= 0)
			tp_real()->close(ends[i]);
	return false;
}

void tp_share_make(int listener)
{
	uint64_t key = tp_socket_key(listener);
	if (!key || (find_end(key, IN) >= 0 && find_end(key, OUT) >= 0))
		return;
	struct channel *channel = take_place();
	if (!channel)
		return;
	bool ok = open_ends(channel, key);
	atomic_store(&channel->key, ok ? key : 0);
	if (ok)
		atomic_fetch_add(&channel_count, 1);
}

bool tp_share_is_made_here(uint64_t key)
{
	struct channel *channel = find(key);
	return channel && atomic_load(&channel->maker) == getpid();
}

void tp_share_close(uint64_t key)
{
	struct channel *channel = find(key);
	if (channel)
		forget(channel, key);
}

int tp_share_own_door(uint64_t key)
{
	return find_end(key, IN);
}

int tp_share_door(uint64_t key)
{
	struct channel *channel = find(key);
	return channel ? atomic_load(&channel->in.fd) : -1;
}

/* A message with room for the descriptors. */
struct letter {
	struct msghdr head;
	struct iovec body;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(TP_PASSED_MAX * sizeof(int))];
};

static void prepare(struct letter *letter, void *passed, size_t count)
{
	letter->body = (struct iovec){passed, count * sizeof(struct tp_passed)};
	letter->head = (struct msghdr){
		.msg_iov = &letter->body,
		.msg_iovlen = 1,
		.msg_control = letter->control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
}

bool tp_share_put(uint64_t key, const struct tp_passed *passed, size_t count)
{
	struct letter letter = {0};
	int out = find_end(key, OUT);
	if (out < 0)
		return false;
	prepare(&letter, (void *)passed, count);
	struct cmsghdr *rights = CMSG_FIRSTHDR(&letter.head);
	*rights = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
				   .cmsg_type = SCM_RIGHTS,
				   .cmsg_len = CMSG_LEN(count * sizeof(int))};
	for (size_t i = 0; i < count; i++)
		memcpy(CMSG_DATA(rights) + i * sizeof(int), &passed[i].fd, sizeof(int));
	return sendmsg(out, &letter.head, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

size_t tp_share_get(uint64_t key, struct tp_passed *passed)
{
	struct letter letter = {0};
	int in = find_end(key, IN);
	if (in < 0)
		return 0;
	prepare(&letter, passed, TP_PASSED_MAX);
	ssize_t size = recvmsg(in, &letter.head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	/* A door that cannot be emptied would keep us busy. */
	if (size < 0 && errno != EAGAIN && errno != EINTR)
		tp_share_close(key);
	const struct cmsghdr *rights = size > 0 ? CMSG_FIRSTHDR(&letter.head) : NULL;
	if (!rights || rights->cmsg_level != SOL_SOCKET ||
	    rights->cmsg_type != SCM_RIGHTS)
		return 0;
	/* Fewer descriptors than were sent: there are no more numbers (EMFILE). */
	size_t count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < count; i++)
		memcpy(&passed[i].fd, CMSG_DATA(rights) + i * sizeof(int), sizeof(int));
	return count;
}

void tp_share_forked(void)
{
	if (atomic_load(&channel_count) && !tp_share_any())
		atomic_store(&tp_share_count, 1); /* not in vain: the page is shared */
}

static void set_close_on_exec(const struct channel *channel, uint64_t key, int flag)
{
	int in = fd_of(channel, key, IN), out = fd_of(channel, key, OUT);
	if (in < 0 || out < 0)
		return;
	fcntl(in, F_SETFD, flag);
	fcntl(out, F_SETFD, flag);
}

/* The channel of a listener that goes along. */
static void take_along(int fd)
{
	uint64_t key = fcntl(fd, F_GETFD) & FD_CLOEXEC ? 0 : tp_socket_key(fd);
	struct channel *channel = find(key);
	if (channel)
		set_close_on_exec(channel, key, 0);
}

void tp_share_before_exec(void)
{
	struct tp_descriptors all = {.end = TP_DESCRIPTORS_MAX};
	int fd, saved = errno;
	while (atomic_load(&channel_count) && (fd = tp_descriptors_next(&all)) >= 0)
		take_along(fd);
	errno = saved;
}

void tp_share_exec_failed(void)
{
	int saved = errno;
	for (size_t i = 0; i < CHANNELS; i++) {
		uint64_t key = atomic_load(&channels[i].key);
		if (key && key != BUSY)
			set_close_on_exec(&channels[i], key, FD_CLOEXEC);
	}
	errno = saved;
}

/* The listener whose channel's end this is, or 0. */
static uint64_t key_of_end(int fd, char end)
{
	struct name name;
	socklen_t len = sizeof name;
	uint64_t key;
	if (tp_real()->getsockname(fd, (struct sockaddr *)&name, &len) ||
	    len != sizeof name)
		return 0;
	key = take_hex(name.key);
	return is_called(fd, key, end) ? key : 0;
}

static void adopt(uint64_t key, int in, int out)
{
	struct channel *channel = take_place();
	if (!channel)
		return;
	atomic_store(&channel->maker, 0);
	set_end(&channel->in, in, tp_socket_key(in));
	set_end(&channel->out, out, tp_socket_key(out));
	atomic_store(&channel->key, key);
	set_close_on_exec(channel, key, FD_CLOEXEC);
	atomic_fetch_add(&channel_count, 1);
	tp_share_forked();
}

/* One system call in every program. */
void tp_share_adopt(void)
{
	struct tp_descriptors all = {.next = LOWEST_FD, .end = HIGHEST_FD};
	int in;
	while ((in = tp_descriptors_next(&all)) >= 0) {
		uint64_t key = key_of_end(in, IN);
		for (int out = LOWEST_FD; key && out < HIGHEST_FD; out++)
			if (key_of_end(out, OUT) == key)
				adopt(key, in, out);
	}
}
