/* SPDX-License-Identifier: MIT */
#include "inherited.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "admit.h"
#include "environ.h"
#include "peer.h"
#include "policy.h"
#include "real.h"

#define FIRST_LISTEN_FD 3   /* sd_listen_fds(3), SD_LISTEN_FDS_START */
#define LISTEN_FDS_MAX 4096 /* more are not believed */

static int number_of(const char *variable)
{
	const char *value = getenv(variable);
	long number = value ? strtol(value, NULL, 10) : 0;
	return number > 0 && number <= INT_MAX ? (int)number : 0;
}

/* The descriptor behind the last one of sd_listen_fds. */
static int listen_fds_end(void)
{
	int count = number_of("LISTEN_FDS");
	if (number_of("LISTEN_PID") != getpid() || count > LISTEN_FDS_MAX)
		return 0;
	return FIRST_LISTEN_FD + count;
}

static bool listens(int fd)
{
	int listens = 0;
	socklen_t size = sizeof listens;
	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) && listens;
}

static void read_one(const struct tp_policy *policy, int fd)
{
	struct tp_connection connection = {.fd = fd, .on_the_spot = true};
	connection.sender_len = sizeof connection.sender;
	if (tp_real()->getpeername(fd, &connection.sender.any, &connection.sender_len)) {
		/* Reset already; but what came before that can still be read. */
		if (errno == ENOTCONN && tp_admit_is_tcp(fd) && !listens(fd))
			tp_admit_end(fd);
		return;
	}
	if (!(connection.sender.any.sa_family == AF_UNIX || tp_admit_is_tcp(fd)))
		return;
	if (!tp_peer_is_known(fd) && tp_admit(policy, -1, &connection) == TP_REFUSED)
		tp_admit_end(fd);
}

/* A mistake in the settings may hide which descriptors were meant: none is let in then.
 */
static void read_all(const struct tp_policy *policy)
{
	const struct tp_inherited_settings *inherited = &policy->inherited;
	int end = inherited->listen_fds ? listen_fds_end() : 0;
	for (int fd = 0; fd <= TP_INHERITED_MAX; fd++)
		if (inherited->numbers >> fd & 1 ||
		    (policy->state == TP_POLICY_BROKEN && tp_admit_is_tcp(fd)))
			read_one(policy, fd);
	for (int fd = FIRST_LISTEN_FD; fd < end; fd++)
		read_one(policy, fd);
}

void tp_inherited_read(void)
{
	int saved = errno;
	if (tp_environ_has("INHERITED")) {
		const struct tp_policy *policy = tp_policy_get();
		unsetenv(TP_ENVIRON_PREFIX "INHERITED");
		if (policy->state != TP_POLICY_OFF)
			read_all(policy);
	}
	errno = saved;
}
