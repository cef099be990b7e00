/* SPDX-License-Identifier: MIT */
#include "await.h"

#include <errno.h>
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
static bool set_low_water(int fd, int bytes)
{
	return !setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
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
		if (left > timeout_ms)
			left = timeout_ms; /* a clock that fails shall not keep us */
		struct pollfd pollfd = {.fd = fd, .events = POLLIN | POLLRDHUP};
		int n = tp_real()->poll(&pollfd, 1, (int)left);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			received = TP_RECEIVED_FAILED;
		if (n <= 0)
			break;
		received = tp_receive(fd, limits, reception);
		if (received != TP_RECEIVED_MORE)
			break;
		if (pollfd.revents & (POLLRDHUP | POLLHUP | POLLERR))
			received = TP_RECEIVED_END;
		else if (reception->seen == seen)
			tp_real()->poll(NULL, 0, left < PAUSE_MS ? (int)left : PAUSE_MS);
	}
	/* The program would wait for its first bytes in vain. */
	if (water != usual && !set_low_water(fd, usual))
		received = TP_RECEIVED_FAILED;
	return received;
}
