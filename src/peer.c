/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "peer_record.h"
#include "peer_table.h"

#ifndef TCP_FASTOPEN_KEY
#define TCP_FASTOPEN_KEY 33
#endif

/* The bytes that were kept, or 0. */
static size_t put_in_slot(int fd, const struct tp_peer_record *record)
{
	if (!setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, record->bytes,
			TP_PEER_RECORD_SIZE))
		return TP_PEER_RECORD_SIZE;
	return tp_peer_record_is_short(record) &&
			       !setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY,
					   record->bytes, TP_PEER_RECORD_SHORT)
		       ? TP_PEER_RECORD_SHORT
		       : 0;
}

static bool get_from_slot(int fd, struct tp_peer_record *record, socklen_t *size)
{
	*size = sizeof record->bytes;
	return !getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, record->bytes, size);
}

/* Only an IPv4 destination of an IPv4 client has room in the slot, where that is whole.
 */
static bool lacks_destination(const struct tp_peer *peer, size_t kept)
{
	bool has_room = kept == TP_PEER_RECORD_SIZE && peer->client.family == AF_INET &&
			peer->destination.family == AF_INET;
	return peer->tells_destination && !has_room;
}

bool tp_peer_put(int fd, const struct tp_peer *peer)
{
	int saved = errno;
	struct tp_peer_record record = tp_peer_record_pack(peer);
	size_t kept = put_in_slot(fd, &record);
	bool ok = kept;
	if (!kept || lacks_destination(peer, kept))
		ok = tp_peer_table_put(fd, peer) || kept;
	errno = saved;
	return ok;
}

bool tp_peer_get(int fd, struct tp_peer *peer)
{
	int saved = errno;
	struct tp_peer_record record = {{0}};
	socklen_t size;
	bool found = get_from_slot(fd, &record, &size) &&
		     tp_peer_record_unpack(&record, size, peer);
	if (!found || (peer->tells_destination && peer->destination.family == AF_UNSPEC))
		found = tp_peer_table_get(fd, peer) || found;
	errno = saved;
	return found;
}

bool tp_peer_is_known(int fd)
{
	int saved = errno;
	struct tp_peer_record record = {{0}};
	struct tp_peer peer;
	socklen_t size;
	bool known = (get_from_slot(fd, &record, &size) &&
		      tp_peer_record_is_tagged(&record, size)) ||
		     tp_peer_table_get(fd, &peer);
	errno = saved;
	return known;
}

struct tp_addr tp_peer_pseudo(const struct tp_addr *ipv6)
{
	/* FNV-1a, folded to the 28 bits behind 240.0.0.0/4; 255.255.255.255 is broadcast.
	 */
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < sizeof ipv6->ip; i++)
		hash = (hash ^ ipv6->ip[i]) * 16777619u;
	hash = (hash ^ hash >> 28) & 0x0fffffff;
	hash |= 0xf0000000;
	if (hash == UINT32_MAX)
		hash--;
	struct tp_addr pseudo = {.family = AF_INET, .port = ipv6->port};
	for (int i = 0; i < 4; i++)
		pseudo.ip[i] = (uint8_t)(hash >> (24 - 8 * i));
	return pseudo;
}

/* An IPv6 address on an IPv4 socket, and the caller has not asked for it or no room. */
static bool is_foreign(const struct tp_peer *peer, const struct tp_addr *addr,
		       sa_family_t socket_family, socklen_t room)
{
	bool as_ipv6 =
		peer->report == TP_PEER_IPV6 && room >= sizeof(struct sockaddr_in6);
	return addr->family == AF_INET6 && socket_family == AF_INET && !as_ipv6;
}

socklen_t tp_peer_to_kernel(const struct tp_peer *peer, sa_family_t socket_family,
			    socklen_t room, union tp_sockaddr *kernel)
{
	struct tp_addr client = peer->client;
	if (is_foreign(peer, &client, socket_family, room))
		client = tp_peer_pseudo(&client);
	return tp_addr_to_kernel(&client, socket_family, kernel);
}

socklen_t tp_peer_destination_to_kernel(const struct tp_peer *peer,
					sa_family_t socket_family, socklen_t room,
					union tp_sockaddr *kernel)
{
	const struct tp_addr *destination = &peer->destination;
	if (destination->family == AF_UNSPEC ||
	    is_foreign(peer, destination, socket_family, room))
		return 0;
	return tp_addr_to_kernel(destination, socket_family, kernel);
}
