/* SPDX-License-Identifier: MIT */
/*
 * Prefixes and sets of them (cidr.h). Input: an address of 16 bytes, of which the first
 * four are IPv4 when the 17th byte is even; then words.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

#include "cidr.h"
#include "fuzz.h"
#include "range.h"

#define MOST 64

static bool bit(const uint8_t *ip, unsigned at)
{
	return ip[at / 8] >> (7 - at % 8) & 1;
}

/* What "lies within" means. */
static bool lies_within_any(const struct range *ranges, size_t count,
			    const struct tp_addr *addr)
{
	for (size_t i = 0; i < count; i++)
		if (range_holds(&ranges[i], addr))
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

/* libc reads the same address in it, or none as well. */
static void check_address(const char *word, size_t len)
{
	static const sa_family_t families[] = {AF_INET, AF_INET6};
	char text[64];
	if (len >= sizeof text || memchr(word, '\0', len))
		return;
	memcpy(text, word, len);
	text[len] = '\0';
	for (int i = 0; i < 2; i++) {
		struct tp_addr addr = {0};
		uint8_t ip[16] = {0};
		bool right = inet_pton(families[i], text, ip) == 1;
		LAW(tp_addr_parse(word, len, families[i], &addr) == right);
		LAW(!memcmp(addr.ip, ip, sizeof ip) || !right);
		LAW(addr.family == (right ? families[i] : AF_UNSPEC));
	}
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
		check_address(word, len);
		memset(&prefixes[count], 0, sizeof prefixes[count]);
		if (!tp_prefix_parse(word, len, &prefixes[count]))
			check_prefix(&prefixes[count++]);
		free(word);
		text += len + !!end;
		size -= len + !!end;
	}
	return count;
}

/* The next address, or the one before; round at the ends. */
static struct tp_addr step(struct tp_addr addr, bool back)
{
	for (size_t at = tp_addr_size(addr.family); at--;)
		if (back ? addr.ip[at]-- : ++addr.ip[at])
			break;
	return addr;
}

static void check_addr(const struct tp_prefix_set *set, const struct range *ranges,
		       size_t count, const struct tp_addr *addr)
{
	LAW(tp_prefix_set_contains(set, addr) == lies_within_any(ranges, count, addr));
}

/* The answer changes at an end of a range. */
static void check_end(const struct tp_prefix_set *set, const struct range *ranges,
		      size_t count, sa_family_t family, const uint8_t *ip)
{
	struct tp_addr at = {.family = family};
	memcpy(at.ip, ip, sizeof at.ip);
	const struct tp_addr before = step(at, true), behind = step(at, false);
	check_addr(set, ranges, count, &before);
	check_addr(set, ranges, count, &at);
	check_addr(set, ranges, count, &behind);
}

static void check_set(const struct tp_prefix *prefixes, size_t count,
		      const struct tp_addr *addr)
{
	struct tp_prefix sorted[MOST];
	struct range ranges[MOST];
	struct tp_prefix_set set = {sorted, count, 0};
	memcpy(sorted, prefixes, count * sizeof *prefixes);
	for (size_t i = 0; i < count; i++)
		ranges[i] =
			range_of(prefixes[i].family, prefixes[i].ip, prefixes[i].length);
	tp_prefix_set_finish(&set);
	LAW(set.count <= count && !set.count == !count);
	check_addr(&set, ranges, count, addr);
	LAW(!tp_prefix_set_contains(&(struct tp_prefix_set){0}, addr));
	for (size_t i = 0; i < count; i++) {
		check_end(&set, ranges, count, ranges[i].family, ranges[i].first);
		check_end(&set, ranges, count, ranges[i].family, ranges[i].last);
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
