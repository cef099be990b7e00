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

static bool put_in_slot(int fd, const struct tp_peer_record *record)
{
	if (!setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, record->bytes,
			TP_PEER_RECORD_SIZE))
		return true;
	return tp_peer_record_is_short(record) &&
	       !setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, record->bytes,
			   TP_PEER_RECORD_SHORT);
}

bool tp_peer_put(int fd, const struct tp_peer *peer)
{
	int saved = errno;
	struct tp_peer_record record = tp_peer_record_pack(peer);
	bool ok = put_in_slot(fd, &record) || tp_peer_table_put(fd, &record);
	errno = saved;
	return ok;
}

bool tp_peer_get(int fd, struct tp_peer *peer)
{
	int saved = errno;
	struct tp_peer_record record = {{0}};
	socklen_t size = sizeof record.bytes;
	bool found =
		(!getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, record.bytes, &size) &&
		 tp_peer_record_unpack(&record, size, peer)) ||
		(tp_peer_table_get(fd, &record) &&
		 tp_peer_record_unpack(&record, sizeof record.bytes, peer));
	errno = saved;
	return found;
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

socklen_t tp_peer_to_kernel(const struct tp_peer *peer, sa_family_t socket_family,
			    socklen_t room, union tp_sockaddr *kernel)
{
	struct tp_addr client = peer->client;
	bool as_ipv6 = peer->report == TP_PEER_IPV6 && room >= sizeof kernel->in6;
	if (client.family == AF_INET6 && socket_family == AF_INET && !as_ipv6)
		client = tp_peer_pseudo(&client);
	return tp_addr_to_kernel(&client, socket_family, kernel);
}
