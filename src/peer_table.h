/* SPDX-License-Identifier: MIT */
/*
 * The second choice: peers by socket, in this process.
 *
 * Keyed by SO_COOKIE (socket(7), Linux 4.6), which is unique to a socket and never
 * reused, so neither close nor dup has to be watched. Entries whose socket is gone are
 * swept out when the table has grown. There is no lock: all functions are safe in
 * threads, signal handlers and forked children (a child goes on with a copy). errno is
 * not kept.
 */
#ifndef TP_PEER_TABLE_H
#define TP_PEER_TABLE_H

#include <stddef.h>

#include "peer.h"

/* Keeps the peer of the socket. False when the socket has no cookie or memory is out. */
bool tp_peer_table_put(int fd, const struct tp_peer *peer);

/* False when the table holds nothing for this socket; no system call while it is empty.
 */
bool tp_peer_table_get(int fd, struct tp_peer *peer);

/* Entries held now. For tests. */
size_t tp_peer_table_count(void);

#endif
