/* SPDX-License-Identifier: MIT */
#include "await.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

#include "clock.h"
#include "real.h"

/* Where the kernel cannot wait for more (a receive buffer smaller than the header). */
#define PAUSE_MS 20

static int low_water(int fd)
{
	int bytes = 1;
	socklen_t size = sizeof bytes;
	getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, &size);
	return bytes;
}

/* SO_RCVLOWAT makes poll wait for the next bytes, not for those that were only peeked at.
 */
static void set_low_water(int fd, int bytes)
{
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

/* The events that came, 0 when the time was over or a signal arrived first. */
static short wait_once(int fd, short events, int64_t ms)
{
	struct pollfd pollfd = {.fd = fd, .events = events};
	return tp_real()->poll(&pollfd, 1, ms > INT_MAX ? INT_MAX : (int)ms) == 1
		       ? pollfd.revents
		       : 0;
}

enum tp_received tp_await(int fd, const struct tp_header_limits *limits,
			  uint32_t timeout_ms, struct tp_reception *reception)
{
	const int64_t deadline = tp_clock_ms() + timeout_ms;
	enum tp_received received = TP_RECEIVED_MORE;
	const int usual = low_water(fd);
	int water = usual;
	while (received == TP_RECEIVED_MORE) {
		size_t seen = reception->seen;
		if (water != (int)reception->need)
			set_low_water(fd, water = (int)reception->need);
		int64_t left = deadline - tp_clock_ms();
		if (left <= 0)
			break;
		short events = wait_once(fd, POLLIN | POLLRDHUP, left);
		if (!events)
			continue;
		received = tp_receive(fd, limits, reception);
		if (received != TP_RECEIVED_MORE)
			break;
		if (events & (POLLRDHUP | POLLHUP | POLLERR))
			received = TP_RECEIVED_END;
		else if (reception->seen == seen)
			wait_once(-1, 0, left < PAUSE_MS ? left : PAUSE_MS);
	}
	if (water != usual)
		set_low_water(fd, usual);
	return received;
}
