/* SPDX-License-Identifier: MIT */
/* A client as the 32 bytes that fit into the kernel's slot. Pure. */
#ifndef TP_PEER_RECORD_H
#define TP_PEER_RECORD_H

#include "peer.h"

#define TP_PEER_RECORD_SIZE 32
#define TP_PEER_RECORD_SHORT 16 /* what kernels before 5.3 hold: enough without IPv6 */

/*
 * The layout, version 1; a change of it changes the last byte of the tag, so that copies
 * of the library of several versions, in one machine's processes, never misread a record.
 *
 *   0  tag, 8 bytes      no program draws this key by chance
 *   8  family, 1 byte    of the client: 0 (its address is the sender's), 4, 6
 *   9  report, 1 byte    enum tp_peer_report; bit 7: tells_destination
 *  10  client port       network byte order
 *  12  client address    4 or 16 bytes
 *  16  IPv4 destination  4 bytes
 *  28  destination port  network byte order; 0 with address 0: not known
 *  30  zero
 */
struct tp_peer_record {
	uint8_t bytes[TP_PEER_RECORD_SIZE];
};

struct tp_peer_record tp_peer_record_pack(const struct tp_peer *peer);

/* Whether the first TP_PEER_RECORD_SHORT bytes say all but the destination. */
bool tp_peer_record_is_short(const struct tp_peer_record *record);

/* Whether the first `size` bytes are a record of this or another layout. */
bool tp_peer_record_is_tagged(const struct tp_peer_record *record, size_t size);

/* False when the first `size` bytes are not a record of this layout. */
bool tp_peer_record_unpack(const struct tp_peer_record *record, size_t size,
			   struct tp_peer *peer);

#endif
