/* SPDX-License-Identifier: MIT */
/*
 * Where a socket's client is kept: on the socket itself, in the kernel.
 *
 * The place is the TCP Fast Open key (tcp(7), TCP_FASTOPEN_KEY; Linux 4.15, for IPv6
 * clients 5.3), which means nothing on a connected socket. It needs no privilege and
 * comes along through dup, fork, exec and descriptor passing. Where the kernel refuses
 * it (MPTCP, AF_UNIX, older kernels) a table in the process serves (peer_table.h), which
 * fork copies and exec and descriptor passing lose. The same holds for an IPv6
 * destination that is to be told: it has no room beside its client.
 */
#ifndef TP_PEER_H
#define TP_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

/* How a client is reported where its family is not the socket's. */
enum tp_peer_report {
	TP_PEER_PLAIN, /* an IPv6 client on an AF_INET socket as a pseudo address */
	TP_PEER_IPV6,  /* as AF_INET6 where the caller's buffer holds it */
};

struct tp_peer {
	struct tp_addr
		client; /* AF_UNSPEC: header read, the sender's own address stays */
	struct tp_addr destination; /* AF_UNSPEC when not known */
	enum tp_peer_report report;
	bool tells_destination; /* getsockname reports it */
};

/* All are safe in threads, signal handlers and forked children, and keep errno. */

/* Keeps *peer for the connected socket. False when there is no place for it. */
bool tp_peer_put(int fd, const struct tp_peer *peer);

/*
 * The record of this socket, if there is one. False for any descriptor without, which
 * costs one getsockopt.
 */
bool tp_peer_get(int fd, struct tp_peer *peer);

/*
 * Whether a copy of the library, be it of another version, has kept a record on the
 * socket: its header has been read, even if tp_peer_get cannot tell what it said.
 */
bool tp_peer_is_known(int fd);

/*
 * The client as accept and getpeername report it on a socket of that family to a caller
 * with room for `room` bytes; the length of *kernel is returned. The client may not be
 * AF_UNSPEC. Pure.
 */
socklen_t tp_peer_to_kernel(const struct tp_peer *peer, sa_family_t socket_family,
			    socklen_t room, union tp_sockaddr *kernel);

/*
 * The destination likewise, as getsockname reports it; 0, and *kernel unchanged, where
 * the socket's own address is to be reported: the destination is not known, or IPv6 where
 * the caller understands IPv4 alone. Pure.
 */
socklen_t tp_peer_destination_to_kernel(const struct tp_peer *peer,
					sa_family_t socket_family, socklen_t room,
					union tp_sockaddr *kernel);

/*
 * A class E address (240.0.0.0/4) that stands for an IPv6 address where only IPv4 is
 * understood: always the same for the same address, with the same port. Pure.
 */
struct tp_addr tp_peer_pseudo(const struct tp_addr *ipv6);

#endif
