/* SPDX-License-Identifier: MIT */
#include "ahead.h"

#include <errno.h>
#include <poll.h>

#include "accept.h"
#include "admit.h"
#include "backstage.h"
#include "park.h"
#include "policy.h"
#include "ready.h"
#include "real.h"
#include "room.h"
#include "sleep.h"
#include "watch.h"

static bool keep(int listener, const struct tp_connection *connection)
{
	if (tp_ready_keep(listener, connection))
		return true;
	tp_admit_turn_away(connection, TP_REASON_NO_PLACE);
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
			tp_accept_park(policy, listener, &connection);
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

bool tp_ahead_prepare(int listener, bool arrived)
{
	struct tp_backstage stage = tp_backstage_enter();
	bool ready = prepare(tp_policy_get(), listener, arrived);
	tp_backstage_leave(stage);
	return ready;
}
