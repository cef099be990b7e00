/* SPDX-License-Identifier: MIT */
/*
 * Prefixes and sets of them (cidr.h). Input: an address of 16 bytes, of which the first
 * four are IPv4 when the 17th byte is even; then words.
 */
#include <stdbool.h>
#include <string.h>

#include "cidr.h"
#include "fuzz.h"

#define MOST 64

static bool bit(const uint8_t *ip, unsigned at)
{
	return ip[at / 8] >> (7 - at % 8) & 1;
}

/* What "lies within" means, bit by bit. */
static bool lies_within(const struct tp_prefix *prefix, const struct tp_addr *addr)
{
	if (prefix->family != addr->family)
		return false;
	for (unsigned at = 0; at < prefix->length; at++)
		if (bit(prefix->ip, at) != bit(addr->ip, at))
			return false;
	return true;
}

static bool lies_within_any(const struct tp_prefix *prefixes, size_t count,
			    const struct tp_addr *addr)
{
	const struct tp_addr plain = tp_addr_unmap(*addr);
	for (size_t i = 0; i < count; i++)
		if (lies_within(&prefixes[i], &plain))
			return true;
	return false;
}

static void check_prefix(const struct tp_prefix *prefix)
{
	char text[TP_ADDR_TEXT + 4];
	struct tp_prefix again = {0};
	struct tp_addr addr = {.family = prefix->family};
	unsigned bits = (unsigned)tp_addr_size(prefix->family) * 8;
	LAW(bits && prefix->length <= bits);
	for (unsigned at = prefix->length; at < bits; at++)
		LAW(!bit(prefix->ip, at));
	memcpy(addr.ip, prefix->ip, sizeof addr.ip);
	size_t len = tp_addr_format(&addr, text);
	LAW(len < TP_ADDR_TEXT && strlen(text) == len);
	len += (size_t)snprintf(text + len, 5, "/%u", prefix->length);
	LAW(!tp_prefix_parse(text, len, &again));
	LAW(again.family == prefix->family && again.length == prefix->length &&
	    !memcmp(again.ip, prefix->ip, sizeof again.ip));
}

static size_t parse_words(const char *text, size_t size, struct tp_prefix *prefixes)
{
	size_t count = 0;
	while (size && count < MOST) {
		const char *end = memchr(text, ' ', size);
		size_t len = end ? (size_t)(end - text) : size;
		char *word = malloc(len ? len : 1); /* alone in its memory */
		LAW(word);
		memcpy(word, text, len);
		memset(&prefixes[count], 0, sizeof prefixes[count]);
		if (!tp_prefix_parse(word, len, &prefixes[count]))
			check_prefix(&prefixes[count++]);
		free(word);
		text += len + !!end;
		size -= len + !!end;
	}
	return count;
}

static void check_set(const struct tp_prefix *prefixes, size_t count,
		      const struct tp_addr *addr)
{
	struct tp_prefix sorted[MOST];
	struct tp_prefix_set set = {sorted, count, 0};
	memcpy(sorted, prefixes, count * sizeof *prefixes);
	tp_prefix_set_finish(&set);
	LAW(set.count <= count && !set.count == !count);
	LAW(tp_prefix_set_contains(&set, addr) == lies_within_any(prefixes, count, addr));
	/* The ends of each prefix, and what lies beside them. */
	for (size_t i = 0; i < count; i++) {
		struct tp_addr at = {.family = prefixes[i].family};
		memcpy(at.ip, prefixes[i].ip, sizeof at.ip);
		LAW(tp_prefix_set_contains(&set, &at));
		for (unsigned flip = 0; flip < tp_addr_size(at.family) * 8; flip++) {
			at.ip[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
			LAW(tp_prefix_set_contains(&set, &at) ==
			    lies_within_any(prefixes, count, &at));
			at.ip[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tp_prefix prefixes[MOST];
	struct tp_addr addr = {0};
	if (size < 17)
		return 0;
	addr.family = data[16] % 2 ? AF_INET6 : AF_INET;
	memcpy(addr.ip, data, tp_addr_size(addr.family));
	size_t count = parse_words((const char *)data + 17, size - 17, prefixes);
	check_set(prefixes, count, &addr);
	return 0;
}
