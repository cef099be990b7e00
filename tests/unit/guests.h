/* SPDX-License-Identifier: MIT */
/* Connections whose header is late, for the tests of those who keep them. */
#ifndef GUESTS_H
#define GUESTS_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "admit.h"
#include "ruleset.h"
#include "sockets.h"

#define V1_MAX 64
#define TIMEOUT_MS 5000
#define PLAIN "TRUEPEER_HEADER=require"

static struct tp_policy policy;

/* A listener and where it is. */
struct inn {
	int listener;
	union loopback name;
};

/* A client, and the connection as accept found it. */
struct guest {
	int client;
	struct tp_connection connection;
};

static inline void ignore_mistake(void *context, const struct tp_mistake *mistake)
{
	(void)context;
	(void)mistake;
}

/* The settings of these tests, but for one that is given; the time is TIMEOUT_MS. */
static inline void set_policy(const char *setting)
{
	const char *const variables[] = {setting, "TRUEPEER_TRUST=loopback",
					 "TRUEPEER_TIMEOUT=5s", NULL};
	const struct tp_ruleset *ruleset = tp_ruleset_read(
		variables, NULL, "", (struct tp_mistake_sink){ignore_mistake, NULL});
	ck_assert_ptr_nonnull(ruleset); /* the policy's for good */
	ck_assert_int_eq(ruleset->policy.state, TP_POLICY_ON);
	policy = ruleset->policy;
}

static inline struct inn open_inn(void)
{
	struct inn inn;
	inn.listener = listen_on_loopback(AF_INET, &inn.name);
	return inn;
}

static inline struct guest arrive(const struct inn *inn, const void *bytes, size_t len)
{
	struct pair pair = connect_to(inn->listener, &inn->name);
	struct guest guest = {.client = pair.client, .connection.fd = pair.server};
	guest.connection.sender_len = sizeof guest.connection.sender;
	send_all(pair.client, bytes, len);
	await_bytes(pair.server, len);
	ck_assert_int_eq(getpeername(pair.server, &guest.connection.sender.any,
				     &guest.connection.sender_len),
			 0);
	ck_assert_int_eq(tp_admit(&policy, inn->listener, &guest.connection), TP_WAITING);
	return guest;
}

/* The header of a client with this port; its length. */
static inline size_t put_header(char header[V1_MAX], unsigned port)
{
	int n = snprintf(header, V1_MAX, "PROXY TCP4 203.0.113.7 192.0.2.1 %u 443\r\n",
			 port);
	return (size_t)n;
}

static inline void send_header(int client, unsigned port)
{
	char header[V1_MAX];
	send_all(client, header, put_header(header, port));
}

static inline bool was_reset(int client)
{
	char byte;
	await_event(client, POLLIN);
	return recv(client, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

static inline bool is_quiet(int client)
{
	char byte;
	return recv(client, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static inline int low_water(int fd)
{
	int bytes = -1;
	socklen_t size = sizeof bytes;
	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, &size), 0);
	return bytes;
}

static inline void limit_descriptors(rlim_t soft)
{
	struct rlimit limit;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = soft;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static inline void ends_well(pid_t pid)
{
	int status;
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}

/* Which descriptors there are. */
struct inventory {
	bool open[8192];
};

static inline bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static inline void take_inventory(struct inventory *inventory)
{
	for (int fd = 0; fd < (int)COUNT(inventory->open); fd++)
		inventory->open[fd] = is_open(fd);
}

/* How many more there are now. */
static inline int count_new(const struct inventory *before)
{
	int count = 0;
	for (int fd = 0; fd < (int)COUNT(before->open); fd++)
		count += is_open(fd) - before->open[fd];
	return count;
}

static inline int lowest_free(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	close(fd);
	return fd;
}

#endif
