/* SPDX-License-Identifier: MIT */
/* What accept does: take a connection, have it judged, park it or hand it over. */
#ifndef TP_ACCEPT_H
#define TP_ACCEPT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "park.h"

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
 * that the policy lets in; others are reset, those with an incomplete header parked, and
 * the next one is taken. Result, errno, out-parameters and cancellation as the kernel's.
 */
int tp_accept(const struct tp_accept *call);

/*
 * Parks a connection of the listener, or resets it where there is no place. Changes
 * errno; the caller has disabled cancellation.
 */
enum tp_parked tp_accept_park(const struct tp_policy *policy, int listener,
			      struct tp_connection *connection);

#endif
