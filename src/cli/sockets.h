/* SPDX-License-Identifier: MIT */
/* The TCP sockets of a network namespace, from the kernel (sock_diag(7)). */
#ifndef TP_SOCKETS_H
#define TP_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"

struct tp_socket {
	struct tp_addr local, remote;
	uint64_t inode;	    /* 0: not accepted yet */
	bool listening;	    /* else established */
	uint64_t received;  /* bytes, ever */
	uint32_t silent_ms; /* since bytes came last, or since the connection was made */
};

struct tp_sockets {
	struct tp_socket *list;
	size_t count;
};

/*
 * Lists the listening and the established ones in the network namespace of a process (0:
 * our own). 0 or an errno; list is to be freed in either case. Entering another namespace
 * needs root, and this process stays in it.
 */
int tp_sockets_list(pid_t pid, struct tp_sockets *sockets);

#endif
