/* SPDX-License-Identifier: MIT */
/* Connections over loopback, for the unit tests. */
#ifndef SOCKETS_H
#define SOCKETS_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

#define PATIENCE_MS                                                                      \
	20000 /* no wait in these tests is longer, and none normally comes near */

/* tp_header_limits with this `max`, for the length of a statement. */
#define LIMITS(max) (&(const struct tp_header_limits){max, false})

/* The two ends of a connection. */
struct pair {
	int client, server;
};

union loopback {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* A listener on loopback; *name is where. */
static inline int listen_on_loopback(sa_family_t family, union loopback *name)
{
	memset(name, 0, sizeof *name);
	name->any.sa_family = family;
	if (family == AF_INET)
		name->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		name->in6.sin6_addr = in6addr_loopback;
	socklen_t len = sizeof *name;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, &name->any, family == AF_INET ? sizeof name->in : len),
			 0);
	ck_assert_int_eq(getsockname(fd, &name->any, &len), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	return fd;
}

/* Another connection to that listener. */
static inline struct pair connect_to(int listener, const union loopback *name)
{
	const int one = 1;
	const sa_family_t family = name->any.sa_family;
	struct pair pair = {.client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	ck_assert_int_ge(pair.client, 0);
	ck_assert_int_eq(connect(pair.client, &name->any,
				 family == AF_INET ? sizeof name->in : sizeof name->in6),
			 0);
	setsockopt(pair.client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	pair.server = accept(listener, NULL, NULL);
	ck_assert_int_ge(pair.server, 0);
	return pair;
}

static inline struct pair connected(sa_family_t family)
{
	union loopback name;
	int listener = listen_on_loopback(family, &name);
	struct pair pair = connect_to(listener, &name);
	close(listener);
	return pair;
}

static inline void hang_up(struct pair pair)
{
	close(pair.client);
	close(pair.server);
}

/* Closes the client's end with a reset. */
static inline void reset(int client)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};
	ck_assert_int_eq(
		setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
	ck_assert_int_eq(close(client), 0);
}

static inline void send_all(int fd, const void *bytes, size_t len)
{
	if (len)
		ck_assert_int_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

static inline size_t waiting_bytes(int fd)
{
	int waiting = 0;
	ck_assert_int_eq(ioctl(fd, FIONREAD, &waiting), 0);
	return (size_t)waiting;
}

/* Waits until that many bytes can be read. */
static inline void await_bytes(int fd, size_t len)
{
	for (int ms = 0; waiting_bytes(fd) < len && ms < PATIENCE_MS; ms++)
		poll(NULL, 0, 1);
	ck_assert_uint_ge(waiting_bytes(fd), len);
}

/* Waits until one of the events shows. */
static inline void await_event(int fd, short events)
{
	struct pollfd pollfd = {.fd = fd, .events = events};
	ck_assert_int_eq(poll(&pollfd, 1, PATIENCE_MS), 1);
}

#endif
