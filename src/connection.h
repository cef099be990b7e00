/* SPDX-License-Identifier: MIT */
/* A connection on its way from the kernel to the program. */
#ifndef TP_CONNECTION_H
#define TP_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "peer.h"
#include "rule.h"

struct tp_connection {
	int fd;
	union tp_sockaddr sender; /* as the kernel reports it */
	socklen_t sender_len;
	const struct tp_rule *rule; /* that applies to it; NULL: it is left untouched */
	struct tp_peer peer; /* what the last header said; AF_UNSPEC: the sender itself */
	uint32_t headers;    /* that named a client, so far */
	bool on_the_spot;    /* its header is waited for, whatever the rules say */
	unsigned place;	     /* where it is counted (stats.h) */
	/* Once the header was found incomplete: */
	int64_t arrived_ms;  /* tp_clock_ms */
	int64_t deadline_ms; /* tp_clock_ms; when it has to be complete */
	size_t seen, need;   /* bytes that are there; with which to look again */
};

#endif
