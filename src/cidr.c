/* SPDX-License-Identifier: MIT */
#include "cidr.h"

#include <endian.h>
#include <string.h>

#define MAPPED_BITS 96

static unsigned family_bits(sa_family_t family)
{
	return (unsigned)tp_addr_size(family) * 8;
}

/* Compares the first `bits` bits. */
static int compare_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	int order = memcmp(a, b, bits / 8);
	if (order || bits % 8 == 0)
		return order;
	uint8_t mask = (uint8_t)(0xff00u >> bits % 8);
	return (a[bits / 8] & mask) - (b[bits / 8] & mask);
}

static bool has_host_bits(const struct tp_addr *addr, unsigned length)
{
	for (unsigned bit = length; bit < family_bits(addr->family); bit++)
		if (addr->ip[bit / 8] & (0x80u >> bit % 8))
			return true;
	return false;
}

static bool parse_length(const char *text, size_t len, unsigned max, unsigned *length)
{
	unsigned value = 0;
	if (len < 1 || len > 3 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	*length = value;
	return value <= max;
}

const char *tp_prefix_parse(const char *text, size_t len, struct tp_prefix *prefix)
{
	const char *slash = memchr(text, '/', len);
	size_t addr_len = slash ? (size_t)(slash - text) : len;
	struct tp_addr addr = {0};
	if (!tp_addr_parse(text, addr_len, AF_INET, &addr) &&
	    !tp_addr_parse(text, addr_len, AF_INET6, &addr))
		return "not an address or prefix";
	unsigned length = family_bits(addr.family);
	if (slash && !parse_length(slash + 1, len - addr_len - 1, length, &length))
		return addr.family == AF_INET ? "the length is not 0 to 32"
					      : "the length is not 0 to 128";
	if (has_host_bits(&addr, length))
		return "bits are set behind the prefix length";
	struct tp_addr unmapped = tp_addr_unmap(addr);
	if (unmapped.family != addr.family && length >= MAPPED_BITS) {
		addr = unmapped;
		length -= MAPPED_BITS;
	}
	*prefix = (struct tp_prefix){.family = addr.family, .length = (uint8_t)length};
	memcpy(prefix->ip, addr.ip, sizeof prefix->ip);
	return NULL;
}

/* By family, then address, then the wider first, then the larger tag. */
static int compare_prefixes(const struct tp_prefix *a, const struct tp_prefix *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	int order = memcmp(a->ip, b->ip, sizeof a->ip);
	if (order || a->length != b->length)
		return order ? order : a->length - b->length;
	return (a->tag < b->tag) - (a->tag > b->tag);
}

/* Moves the prefix at `at` down to its place in the heap [0..count). */
static void sift_down(struct tp_prefix *heap, size_t at, size_t count)
{
	const struct tp_prefix moving = heap[at];
	size_t child;
	while ((child = 2 * at + 1) < count) {
		if (child + 1 < count &&
		    compare_prefixes(&heap[child], &heap[child + 1]) < 0)
			child++;
		if (compare_prefixes(&moving, &heap[child]) >= 0)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = moving;
}

/* A heap sort, since qsort may call malloc. */
static void sort(struct tp_prefix *prefixes, size_t count)
{
	for (size_t i = count / 2; i-- > 0;)
		sift_down(prefixes, i, count);
	for (size_t last = count; last-- > 1;) {
		const struct tp_prefix largest = prefixes[0];
		prefixes[0] = prefixes[last];
		prefixes[last] = largest;
		sift_down(prefixes, 0, last);
	}
}

static bool covers(const struct tp_prefix *prefix, sa_family_t family, const uint8_t *ip)
{
	return prefix->family == family && !compare_bits(prefix->ip, ip, prefix->length);
}

void tp_prefix_set_sort(struct tp_prefix_set *set)
{
	sort(set->prefixes, set->count);
	set->ipv4_count = 0;
	while (set->ipv4_count < set->count &&
	       set->prefixes[set->ipv4_count].family == AF_INET)
		set->ipv4_count++;
}

void tp_prefix_set_finish(struct tp_prefix_set *set)
{
	size_t kept = 0, ipv4_kept = 0;
	tp_prefix_set_sort(set);
	for (size_t i = 0; i < set->count; i++) {
		const struct tp_prefix *prefix = &set->prefixes[i];
		if (kept && covers(&set->prefixes[kept - 1], prefix->family, prefix->ip))
			continue;
		ipv4_kept += prefix->family == AF_INET;
		set->prefixes[kept++] = *prefix;
	}
	set->count = kept;
	set->ipv4_count = ipv4_kept;
}

/* Eight bytes of an address, to compare as a number. */
static inline uint64_t number(const uint8_t *ip)
{
	uint64_t bytes;
	memcpy(&bytes, ip, sizeof bytes);
	return be64toh(bytes);
}

static inline bool begins_up_to(const struct tp_prefix *prefix, uint64_t high,
				uint64_t low)
{
	uint64_t prefix_high = number(prefix->ip), prefix_low = number(prefix->ip + 8);
	return (prefix_high < high) | ((prefix_high == high) & (prefix_low <= low));
}

/*
 * The last of the sorted prefixes, all of one family, that begins at the address or
 * before it; NULL when none does. Three looks a step, which the processor takes at once,
 * and no branch that depends on the address, half of which it would guess wrong.
 */
static const struct tp_prefix *last_up_to(const struct tp_prefix *prefixes, size_t count,
					  const uint8_t *ip)
{
	const uint64_t high = number(ip), low = number(ip + 8);
	const struct tp_prefix *next = prefixes;
	for (size_t step; (step = count / 4); count -= 3 * step)
		next += step * (begins_up_to(&next[step - 1], high, low) +
				(size_t)begins_up_to(&next[2 * step - 1], high, low) +
				begins_up_to(&next[3 * step - 1], high, low));
	while (count && begins_up_to(next, high, low)) {
		next++;
		count--;
	}
	return next > prefixes ? next - 1 : NULL;
}

const struct tp_prefix *tp_prefix_set_last_up_to(const struct tp_prefix_set *set,
						 const struct tp_addr *addr)
{
	const struct tp_addr plain = tp_addr_unmap(*addr);
	uint8_t ip[16] = {0};
	memcpy(ip, plain.ip, tp_addr_size(plain.family));
	if (plain.family == AF_INET)
		return last_up_to(set->prefixes, set->ipv4_count, ip);
	if (plain.family == AF_INET6 && set->count > set->ipv4_count)
		return last_up_to(set->prefixes + set->ipv4_count,
				  set->count - set->ipv4_count, ip);
	return NULL;
}

bool tp_prefix_contains(const struct tp_prefix *prefix, const struct tp_addr *addr)
{
	const struct tp_addr plain = tp_addr_unmap(*addr);
	return covers(prefix, plain.family, plain.ip);
}

bool tp_prefix_set_contains(const struct tp_prefix_set *set, const struct tp_addr *addr)
{
	const struct tp_prefix *found = tp_prefix_set_last_up_to(set, addr);
	return found && tp_prefix_contains(found, addr);
}
