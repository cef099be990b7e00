/* SPDX-License-Identifier: MIT */
/*
 * Reading a header off a socket (receive.h, await.h). Input: how many moves, the moves of
 * a fake socket, and the bytes its peer sends. The linker puts the calls here in place of
 * libc's (-Wl,--wrap).
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "await.h"
#include "fuzz.h"
#include "real.h"
#include "receive.h"

#define TIMEOUT_MS 1000
#define MOST_CALLS 5000 /* more is a spin */
#define LOW_WATER 70000 /* as the program has set it; no header needs as much */

enum move { ALL, ONE, SOME, MANY, NOTHING, INTERRUPT, RESET, END, DENY, WAKE, MOVES };

static struct {
	const uint8_t *moves, *stream;
	size_t moves_left, size;
	size_t arrived, consumed;
	bool ended, reset, denied, woken;
	bool stuck; /* SO_RCVLOWAT cannot be set back */
	int low_water;
	int64_t now_ms;
	int calls;
} fake;

/* The peer does something; true when this call is interrupted. */
static bool move(void)
{
	LAW(fake.calls++ < MOST_CALLS);
	enum move what = NOTHING;
	size_t more = 0;
	if (fake.moves_left) {
		fake.moves_left--;
		what = (enum move)(*fake.moves % MOVES);
		more = what == ALL    ? SIZE_MAX / 2
		       : what == ONE  ? 1
		       : what == SOME ? *fake.moves / (size_t)MOVES + 1
		       : what == MANY ? 700
				      : 0;
		fake.moves++;
	}
	if (!fake.ended)
		fake.arrived +=
			more < fake.size - fake.arrived ? more : fake.size - fake.arrived;
	fake.ended |= what == END;
	fake.reset |= what == RESET;
	fake.denied = what == DENY;
	fake.woken = what == WAKE; /* for nothing */
	return what == INTERRUPT;
}

static ssize_t fail(int error)
{
	errno = error;
	return -1;
}

ssize_t __wrap_recv(int fd, void *to, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t size, int flags)
{
	LAW(fd == 5 && size && flags & MSG_DONTWAIT);
	if (move())
		return fail(EINTR);
	if (fake.denied)
		return fail(ENOMEM);
	if (fake.reset)
		return fail(ECONNRESET);
	size_t there = fake.arrived - fake.consumed;
	if (!there)
		return fake.ended ? 0 : fail(EAGAIN);
	size_t n = there < size ? there : size;
	if (flags & MSG_PEEK)
		memcpy(to, fake.stream + fake.consumed, n);
	else
		fake.consumed += n;
	return (ssize_t)n;
}

static int fake_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	LAW(timeout_ms >= 0 && timeout_ms <= TIMEOUT_MS);
	if (move())
		return (int)fail(EINTR);
	if (fake.denied)
		return (int)fail(ENOMEM);
	bool over = fake.ended || fake.reset;
	size_t there = fake.arrived - fake.consumed;
	if (count && (over || fake.woken || there >= (size_t)fake.low_water)) {
		LAW(count == 1 && fds->fd == 5);
		fds->revents = (short)(POLLIN | (over ? POLLRDHUP : 0));
		return 1;
	}
	fake.now_ms += timeout_ms;
	return 0;
}

const struct tp_real *tp_real(void)
{
	static const struct tp_real real = {.poll = fake_poll};
	return &real;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	LAW(fd == 5 && level == SOL_SOCKET && name == SO_RCVLOWAT &&
	    *size == sizeof(int));
	memcpy(value, &fake.low_water, sizeof(int));
	return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	LAW(fd == 5 && level == SOL_SOCKET && name == SO_RCVLOWAT && size == sizeof(int));
	int bytes;
	memcpy(&bytes, value, sizeof bytes);
	LAW(bytes > 0);
	if (fake.stuck && bytes == LOW_WATER)
		return (int)fail(ENOMEM);
	fake.low_water = bytes;
	return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	LAW(clock == CLOCK_MONOTONIC);
	*now = (struct timespec){fake.now_ms / 1000, fake.now_ms % 1000 * 1000000};
	return 0;
}

/* What a header leads to lies in what was kept of it. */
static void check_pointer(const struct tp_reception *reception, const uint8_t *bytes,
			  size_t size)
{
	if (bytes)
		LAW(bytes >= reception->bytes &&
		    bytes + size <= reception->bytes + TP_USUAL_HEADER);
}

static void check(enum tp_received received, const struct tp_reception *reception,
		  const struct tp_header_limits *limits)
{
	struct tp_header whole;
	enum tp_verdict verdict =
		tp_header_parse_within(fake.stream, fake.arrived, limits, &whole);
	LAW(fake.low_water == LOW_WATER ||
	    (fake.stuck && received == TP_RECEIVED_FAILED));
	LAW(fake.now_ms <= TIMEOUT_MS);
	if (received != TP_RECEIVED_FAILED)
		LAW(fake.consumed == (received == TP_RECEIVED_HEADER ? whole.length : 0));
	switch (received) {
	case TP_RECEIVED_HEADER:
		LAW(verdict == TP_DONE && reception->header.length == whole.length);
		LAW(reception->header.version == whole.version);
		LAW(reception->header.command == whole.command);
		LAW(reception->header.src.family == whole.src.family);
		LAW(reception->header.src.port == whole.src.port);
		LAW(!memcmp(reception->header.src.ip, whole.src.ip, 16));
		check_pointer(reception, reception->header.tlvs,
			      reception->header.tlvs_length);
		check_pointer(reception, reception->header.unix_paths, TP_UNIX_PATHS);
		break;
	case TP_RECEIVED_NONE:
		LAW(verdict == TP_NONE);
		break;
	case TP_RECEIVED_BAD:
		LAW(verdict == TP_BAD && reception->reason);
		break;
	case TP_RECEIVED_MORE:
		LAW(fake.now_ms == TIMEOUT_MS);
		LAW(reception->need > reception->seen);
		break;
	case TP_RECEIVED_END:
		LAW(fake.ended || fake.reset);
		break;
	case TP_RECEIVED_FAILED:
		break;
	}
	size_t kept =
		reception->seen < TP_USUAL_HEADER ? reception->seen : TP_USUAL_HEADER;
	LAW(!memcmp(reception->bytes, fake.stream, kept));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tp_reception reception;
	if (!size || data[0] + 1u > size)
		return 0;
	size_t moves = data[0];
	memset(&fake, 0, sizeof fake);
	fake.moves = data + 1;
	fake.moves_left = moves;
	fake.stream = data + 1 + moves;
	fake.size = size - 1 - moves;
	fake.low_water = LOW_WATER;
	fake.stuck = moves & 4;
	const struct tp_header_limits limits = {moves & 1 ? TP_HEADER_V2_MAX : 4096,
						moves & 2};
	enum tp_received received = tp_receive(5, &limits, &reception);
	if (received == TP_RECEIVED_MORE)
		received = tp_await(5, &limits, TIMEOUT_MS, &reception);
	check(received, &reception, &limits);
	return 0;
}
