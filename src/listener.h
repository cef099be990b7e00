/* SPDX-License-Identifier: MIT */
/* What accept does: take a connection, judge its sender, read the header, hand it over. */
#ifndef TP_LISTENER_H
#define TP_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>

/* A call of accept or accept4, as the program made it. */
struct tp_accept {
	int fd;
	struct sockaddr *addr;
	socklen_t *len;
	bool four; /* accept4, with these flags */
	int flags;
};

/*
 * accept(2) with the client in the out-parameters. The program sees only connections
 * that the policy lets in; others are reset and the next one is taken. Result, errno,
 * out-parameters and cancellation as the kernel's.
 */
int tp_listener_accept(const struct tp_accept *call);

/* listen(2); EINVAL on a TCP socket when there is a mistake in the settings. */
int tp_listener_listen(int fd, int backlog);

/* getpeername(2) with the client; fails as the kernel's does. */
int tp_listener_getpeername(int fd, struct sockaddr *addr, socklen_t *len);

#endif
