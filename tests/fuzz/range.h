/* SPDX-License-Identifier: MIT */
/* What a prefix means, plainly: all addresses from the first to the last; IPv4-mapped
 * ones count as IPv4. */
#ifndef RANGE_H
#define RANGE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "addr.h"

struct range {
	sa_family_t family;
	uint8_t first[16], last[16]; /* in the order of their bytes; AF_INET: four */
};

/* Those that share the address's first `length` bits. */
static inline struct range range_of(sa_family_t family, const uint8_t *ip,
				    unsigned length)
{
	struct range range = {.family = family};
	const unsigned bits = family == AF_INET ? 32 : 128;
	memcpy(range.first, ip, bits / 8);
	memcpy(range.last, ip, bits / 8);
	for (unsigned at = length; at < bits; at++) {
		range.first[at / 8] &= (uint8_t) ~(0x80 >> at % 8);
		range.last[at / 8] |= (uint8_t)(0x80 >> at % 8);
	}
	return range;
}

/* RFC 4291 section 2.5.5.2. */
static const uint8_t mapped_net[12] = {[10] = 0xff, 0xff};

static inline struct tp_addr unmapped(struct tp_addr addr)
{
	if (addr.family == AF_INET6 && !memcmp(addr.ip, mapped_net, sizeof mapped_net)) {
		memmove(addr.ip, addr.ip + 12, 4);
		addr.family = AF_INET;
	}
	return addr;
}

static inline bool range_holds(const struct range *range, const struct tp_addr *addr)
{
	const struct tp_addr plain = unmapped(*addr);
	const size_t size = plain.family == AF_INET ? 4 : 16;
	return range->family == plain.family &&
	       memcmp(range->first, plain.ip, size) <= 0 &&
	       memcmp(plain.ip, range->last, size) <= 0;
}

#endif
