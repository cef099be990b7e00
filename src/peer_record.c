/* SPDX-License-Identifier: MIT */
#include "peer_record.h"

#include <string.h>

/* Seven random bytes and the layout's version. */
static const uint8_t tag[8] = {0xd3, 0x7e, 0x91, 0x5a, 0xc4, 0x2b, 0xe8, 0x01};

enum {
	AT_FAMILY = 8,
	AT_REPORT = 9,
	AT_PORT = 10,
	AT_ADDRESS = 12,
	AT_TARGET = 16,
	AT_TARGET_PORT = 28,
	AT_END = 30
};

#define TELLS_DESTINATION 0x80

static void write16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint16_t read16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

struct tp_peer_record tp_peer_record_pack(const struct tp_peer *peer)
{
	struct tp_peer_record record = {{0}};
	uint8_t *bytes = record.bytes;
	sa_family_t family = peer->client.family;
	memcpy(bytes, tag, sizeof tag);
	bytes[AT_FAMILY] = family == AF_INET ? 4 : family == AF_INET6 ? 6 : 0;
	bytes[AT_REPORT] =
		(uint8_t)peer->report | (peer->tells_destination ? TELLS_DESTINATION : 0);
	write16(bytes + AT_PORT, peer->client.port);
	memcpy(bytes + AT_ADDRESS, peer->client.ip, tp_addr_size(family));
	if (family == AF_INET && peer->destination.family == AF_INET) {
		memcpy(bytes + AT_TARGET, peer->destination.ip, 4);
		write16(bytes + AT_TARGET_PORT, peer->destination.port);
	}
	return record;
}

bool tp_peer_record_is_short(const struct tp_peer_record *record)
{
	return record->bytes[AT_FAMILY] != 6;
}

bool tp_peer_record_is_tagged(const struct tp_peer_record *record, size_t size)
{
	return size >= sizeof tag && !memcmp(record->bytes, tag, sizeof tag - 1);
}

static void unpack_destination(const uint8_t *bytes, struct tp_peer *peer)
{
	static const uint8_t unknown[TP_PEER_RECORD_SIZE - AT_TARGET];
	if (peer->client.family != AF_INET ||
	    !memcmp(bytes + AT_TARGET, unknown, sizeof unknown))
		return;
	peer->destination.family = AF_INET;
	peer->destination.port = read16(bytes + AT_TARGET_PORT);
	memcpy(peer->destination.ip, bytes + AT_TARGET, 4);
}

bool tp_peer_record_unpack(const struct tp_peer_record *record, size_t size,
			   struct tp_peer *peer)
{
	const uint8_t *bytes = record->bytes;
	uint8_t family = bytes[AT_FAMILY];
	uint8_t report = bytes[AT_REPORT] & (uint8_t)~TELLS_DESTINATION;
	bool whole = size == TP_PEER_RECORD_SIZE;
	if (!(whole ||
	      (size == TP_PEER_RECORD_SHORT && tp_peer_record_is_short(record))) ||
	    memcmp(bytes, tag, sizeof tag))
		return false;
	if ((family != 0 && family != 4 && family != 6) || report > TP_PEER_IPV6)
		return false;
	*peer = (struct tp_peer){.report = (enum tp_peer_report)report,
				 .tells_destination = bytes[AT_REPORT] != report};
	if (!family)
		return true;
	peer->client.family = family == 4 ? AF_INET : AF_INET6;
	peer->client.port = read16(bytes + AT_PORT);
	memcpy(peer->client.ip, bytes + AT_ADDRESS, tp_addr_size(peer->client.family));
	if (whole)
		unpack_destination(bytes, peer);
	return true;
}
