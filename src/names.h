/* SPDX-License-Identifier: MIT */
/* What a program is told when it asks for the names of a socket's two ends. */
#ifndef TP_NAMES_H
#define TP_NAMES_H

#include <stdbool.h>
#include <sys/socket.h>

#include "addr.h"
#include "peer.h"

/* getpeername(2) with the client; fails as the kernel's does. */
int tp_names_getpeername(int fd, struct sockaddr *addr, socklen_t *len);

/*
 * The record of this socket, if there is one that is believed; errno is kept. Whoever
 * starts a program that is executed securely (environ.h) may have made the socket that it
 * begins with, and the record: there a header from the sender has to be trusted.
 */
bool tp_names_find(int fd, struct tp_peer *peer);

/*
 * getsockname(2) with the destination that the header named, on sockets whose record says
 * so; fails as the kernel's does.
 */
int tp_names_getsockname(int fd, struct sockaddr *addr, socklen_t *len);

/* There may be such sockets in this process; else getsockname looks at none. */
void tp_names_expect_destinations(bool expect);

/*
 * Gives the caller an address the way the kernel does: cut to the room, the full length
 * told. -1 with EFAULT or EINVAL, as the kernel.
 */
int tp_names_copy(const union tp_sockaddr *kernel, socklen_t kernel_len,
		  struct sockaddr *addr, socklen_t *len);

#endif
