/* SPDX-License-Identifier: MIT */
#include "cidr.h"

#include "unit.h"

#define MANY 10000

static const char *parse(const char *text, struct tp_prefix *prefix)
{
	size_t len = strlen(text);
	return tp_prefix_parse(flush_copy(text, len), len, prefix);
}

static struct tp_addr addr(const char *text)
{
	struct tp_addr made = {0};
	ck_assert(tp_addr_parse(text, strlen(text), AF_INET, &made) ||
		  tp_addr_parse(text, strlen(text), AF_INET6, &made));
	return made;
}

static uint8_t bit_mask(unsigned bit)
{
	return (uint8_t)(0x80 >> bit % 8);
}

/* The prefix of that many bits which the address lies in. */
static struct tp_prefix prefix_of(const struct tp_addr *ip, unsigned length)
{
	struct tp_prefix prefix = {.family = ip->family, .length = (uint8_t)length};
	for (unsigned bit = 0; bit < length; bit++)
		if (ip->ip[bit / 8] & bit_mask(bit))
			prefix.ip[bit / 8] |= bit_mask(bit);
	return prefix;
}

/* Whether the address lies in the set of these prefixes, ended by NULL. */
static bool contains(const char *const *texts, const char *text)
{
	struct tp_prefix prefixes[16];
	struct tp_prefix_set set = {.prefixes = prefixes};
	for (; *texts; texts++)
		ck_assert_ptr_null(parse(*texts, &prefixes[set.count++]));
	tp_prefix_set_finish(&set);
	struct tp_addr wanted = addr(text);
	return tp_prefix_set_contains(&set, &wanted);
}

static const struct {
	const char *text, *ip;
	unsigned length;
} right[] = {
	{"10.0.0.0/8", "10.0.0.0", 8},
	{"10.0.0.1", "10.0.0.1", 32},
	{"10.0.0.1/32", "10.0.0.1", 32},
	{"10.0.0.2/31", "10.0.0.2", 31},
	{"172.16.0.0/12", "172.16.0.0", 12},
	{"128.0.0.0/1", "128.0.0.0", 1},
	{"0.0.0.0/0", "0.0.0.0", 0},
	{"0.0.0.0", "0.0.0.0", 32},
	{"::/0", "::", 0},
	{"::", "::", 128},
	{"::1", "::1", 128},
	{"::1/128", "::1", 128},
	{"2001:db8::/32", "2001:db8::", 32},
	{"2001:DB8:0:0::/33", "2001:db8::", 33},
	{"fc00::/7", "fc00::", 7},
	{"8000::/1", "8000::", 1},
	{"::ffff:10.0.0.0/104", "10.0.0.0", 8},
	{"::ffff:a00:0/104", "10.0.0.0", 8},
	{"::ffff:10.0.0.1", "10.0.0.1", 32},
	{"::ffff:10.0.0.1/128", "10.0.0.1", 32},
	{"::ffff:0.0.0.0/96", "0.0.0.0", 0},
	{"::fffe:0:0/95", "::fffe:0:0", 95},
};

START_TEST(a_right_prefix_is_read)
{
	struct tp_prefix prefix;
	struct tp_addr ip = addr(right[_i].ip);
	ck_assert_msg(!parse(right[_i].text, &prefix), "%s", right[_i].text);
	ck_assert_int_eq(prefix.family, ip.family);
	ck_assert_uint_eq(prefix.length, right[_i].length);
	ck_assert_mem_eq(prefix.ip, ip.ip, sizeof prefix.ip);
}
END_TEST

static const char *const wrong[] = {
	/* bits behind the length */
	"10.0.0.1/8",
	"10.0.0.1/31",
	"0.0.0.1/0",
	"128.0.0.0/0",
	"172.16.0.0/11",
	"192.0.2.128/24",
	"2001:db8::1/32",
	"2001:db8::1/127",
	"::1/0",
	"8000::/0",
	"fc00::/5",
	"::ffff:10.0.0.1/104",
	"::ffff:10.0.0.0/8",
	"::ffff:0.0.0.0/95",
	/* the length */
	"10.0.0.0/",
	"10.0.0.0/33",
	"10.0.0.0/128",
	"10.0.0.0/256",
	"10.0.0.0/264",
	"10.0.0.0/4294967304",
	"10.0.0.0/08",
	"10.0.0.0/00",
	"0.0.0.0/00",
	"10.0.0.0/008",
	"10.0.0.0/8x",
	"10.0.0.0/24abc",
	"10.0.0.0/x8",
	"10.0.0.0/0x8",
	"10.0.0.0/+8",
	"10.0.0.0/-8",
	"10.0.0.0/ 8",
	"10.0.0.0/8 ",
	"10.0.0.0/8.",
	"10.0.0.0/8.0",
	"10.0.0.0/8/8",
	"10.0.0.0//8",
	"10.0.0.0/255.0.0.0",
	"::/129",
	"::/1000",
	"::/",
	"::/00",
	"::/0128",
	"::1/128x",
	/* the address */
	"",
	"/",
	"/8",
	"/0",
	"10/8",
	"10.0/16",
	"10.0.0/24",
	"10.0.0.0.0/8",
	"10.0.0.256",
	"10.0.0.00/8",
	"010.0.0.0/8",
	" 10.0.0.0/8",
	"10.0.0.0 /8",
	"!10.0.0.0/8",
	"[::1]",
	"[::]/0",
	"::1%lo",
	"fe80::%1/64",
	"1:2:3/48",
	"localhost",
	"*",
	"all",
};

START_TEST(a_wrong_prefix_is_told_and_changes_nothing)
{
	struct tp_prefix prefix, before;
	memset(&prefix, 0x5a, sizeof prefix);
	before = prefix;
	const char *reason = parse(wrong[_i], &prefix);
	ck_assert_msg(reason != NULL, "%s", wrong[_i]);
	ck_assert_uint_gt(strlen(reason), 0);
	ck_assert_mem_eq(&prefix, &before, sizeof prefix);
}
END_TEST

START_TEST(every_length_reaches_to_its_last_address)
{
	bool ipv6 = _i > 32;
	unsigned length = (unsigned)(ipv6 ? _i - 33 : _i), bits = ipv6 ? 128 : 32;
	struct tp_addr ip = {.family = ipv6 ? AF_INET6 : AF_INET};
	draw_bytes(ip.ip, bits / 8);
	ip.ip[0] |= 1; /* not within ::ffff:0:0/96, even with this bit changed */
	struct tp_prefix prefix = prefix_of(&ip, length);
	struct tp_prefix_set set = {&prefix, 1, 0};
	tp_prefix_set_finish(&set);
	for (unsigned bit = 0; bit < bits; bit++) {
		struct tp_addr other = ip;
		other.ip[bit / 8] ^= bit_mask(bit);
		ck_assert_int_eq(tp_prefix_set_contains(&set, &other), bit >= length);
	}
	ck_assert(tp_prefix_set_contains(&set, &ip));
}
END_TEST

START_TEST(an_empty_set_contains_nothing)
{
	struct tp_prefix_set set = {0};
	struct tp_addr ipv4 = addr("0.0.0.0"), ipv6 = addr("::"), none = {0};
	tp_prefix_set_finish(&set);
	ck_assert(!tp_prefix_set_contains(&set, &ipv4));
	ck_assert(!tp_prefix_set_contains(&set, &ipv6));
	ck_assert(!tp_prefix_set_contains(&set, &none));
}
END_TEST

START_TEST(no_address_is_in_no_set)
{
	struct tp_prefix prefixes[2];
	struct tp_prefix_set set = {prefixes, 2, 0};
	struct tp_addr none = {.family = AF_UNSPEC}, local = {.family = AF_UNIX};
	ck_assert_ptr_null(parse("0.0.0.0/0", &prefixes[0]));
	ck_assert_ptr_null(parse("::/0", &prefixes[1]));
	tp_prefix_set_finish(&set);
	ck_assert(!tp_prefix_set_contains(&set, &none));
	ck_assert(!tp_prefix_set_contains(&set, &local));
}
END_TEST

START_TEST(the_families_are_kept_apart)
{
	const char *const ipv4[] = {"0.0.0.0/0", NULL}, *const ipv6[] = {"::/0", NULL};
	ck_assert(contains(ipv4, "1.2.3.4"));
	ck_assert(!contains(ipv4, "::1"));
	ck_assert(!contains(ipv4, "::"));
	ck_assert(contains(ipv6, "::1"));
	ck_assert(!contains(ipv6, "1.2.3.4"));
	ck_assert(!contains(ipv6, "0.0.0.0"));
}
END_TEST

START_TEST(a_mapped_address_counts_as_ipv4)
{
	const char *const plain[] = {"10.0.0.0/8", NULL};
	const char *const mapped[] = {"::ffff:10.0.0.0/104", NULL};
	ck_assert(contains(plain, "::ffff:10.1.2.3"));
	ck_assert(!contains(plain, "::ffff:11.1.2.3"));
	ck_assert(!contains(plain, "::10.1.2.3"));
	ck_assert(contains(mapped, "10.1.2.3"));
	ck_assert(contains(mapped, "::ffff:10.1.2.3"));
	ck_assert(!contains(mapped, "11.1.2.3"));
}
END_TEST

START_TEST(nested_and_duplicate_prefixes_are_dropped)
{
	const char *const texts[] = {
		"10.1.0.0/16",	"10.0.0.0/8",  "10.0.0.0/8",	 "10.255.0.1",
		"192.0.2.0/24", "10.0.0.0/16", "192.0.2.0",	 "2001:db8::/32",
		"2001:db8::1",	"11.0.0.0/8",  "2001:db8::/127", "::ffff:10.0.0.0/104"};
	struct tp_prefix prefixes[COUNT(texts)];
	struct tp_prefix_set set = {prefixes, COUNT(texts), 0};
	for (size_t i = 0; i < COUNT(texts); i++)
		ck_assert_ptr_null(parse(texts[i], &prefixes[i]));
	tp_prefix_set_finish(&set);
	ck_assert_uint_eq(set.count, 4);
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct tp_addr first = {0};
		const char *slash = strchr(texts[i], '/');
		size_t len = slash ? (size_t)(slash - texts[i]) : strlen(texts[i]);
		ck_assert(tp_addr_parse(texts[i], len, AF_INET, &first) ||
			  tp_addr_parse(texts[i], len, AF_INET6, &first));
		ck_assert(tp_prefix_set_contains(&set, &first));
	}
}
END_TEST

/* ---- against a search one by one ---- */

/* In a corner of the address space, so that prefixes meet and nest. */
static struct tp_addr random_addr(void)
{
	struct tp_addr made = {.family = draw_below(2) ? AF_INET : AF_INET6};
	size_t size = tp_addr_size(made.family);
	for (size_t i = 0; i < size; i++)
		made.ip[i] =
			(uint8_t)(draw_below(4) ? 0 : draw_below(8) << draw_below(6));
	made.ip[0] |= 0x20;
	return made;
}

static struct tp_prefix random_prefix(void)
{
	struct tp_addr ip = random_addr();
	unsigned bits = (unsigned)tp_addr_size(ip.family) * 8;
	unsigned length = (unsigned)(4 + draw_below(bits - 3));
	return prefix_of(&ip, length);
}

static bool lies_in(const struct tp_prefix *prefix, const struct tp_addr *ip)
{
	if (prefix->family != ip->family)
		return false;
	for (unsigned bit = 0; bit < prefix->length; bit++)
		if ((prefix->ip[bit / 8] ^ ip->ip[bit / 8]) & bit_mask(bit))
			return false;
	return true;
}

static bool found_one_by_one(const struct tp_prefix *prefixes, size_t count,
			     const struct tp_addr *ip)
{
	for (size_t i = 0; i < count; i++)
		if (lies_in(&prefixes[i], ip))
			return true;
	return false;
}

static struct tp_addr random_member(const struct tp_prefix *prefix)
{
	struct tp_addr ip = {.family = prefix->family};
	draw_bytes(ip.ip, tp_addr_size(ip.family));
	for (unsigned bit = 0; bit < prefix->length; bit++) {
		uint8_t mask = bit_mask(bit);
		ip.ip[bit / 8] = (uint8_t)((ip.ip[bit / 8] & ~mask) |
					   (prefix->ip[bit / 8] & mask));
	}
	return ip;
}

static void compare_with_naive_search(size_t count, int lookups)
{
	static struct tp_prefix prefixes[MANY], sorted[MANY];
	struct tp_prefix_set set = {sorted, count, 0};
	for (size_t i = 0; i < count; i++)
		prefixes[i] = random_prefix();
	memcpy(sorted, prefixes, count * sizeof *sorted);
	tp_prefix_set_finish(&set);
	ck_assert_uint_le(set.count, count);
	for (int i = 0; i < lookups; i++) {
		struct tp_addr ip = random_addr();
		ck_assert_int_eq(tp_prefix_set_contains(&set, &ip),
				 found_one_by_one(prefixes, count, &ip));
		ip = random_member(&prefixes[draw_below(count)]);
		ck_assert(tp_prefix_set_contains(&set, &ip));
	}
}

START_TEST(random_sets_are_searched_right)
{
	for (int i = 0; i < 300; i++)
		compare_with_naive_search(1 + draw_below(40), 100);
}
END_TEST

START_TEST(ten_thousand_prefixes_are_searched_right)
{
	compare_with_naive_search(MANY, 500);
}
END_TEST

START_TEST(ten_thousand_addresses_are_all_kept)
{
	static struct tp_prefix prefixes[MANY];
	struct tp_prefix_set set = {prefixes, MANY, 0};
	struct tp_addr ip = {.family = AF_INET, .ip = {10}};
	for (unsigned i = 0; i < MANY; i++) { /* each second address */
		unsigned low = i * 7919 % MANY * 2;
		prefixes[i] = (struct tp_prefix){
			.family = AF_INET,
			.length = 32,
			.ip = {10, 0, (uint8_t)(low >> 8), (uint8_t)low}};
	}
	tp_prefix_set_finish(&set);
	ck_assert_uint_eq(set.count, MANY);
	for (unsigned low = 0; low < 2 * MANY; low++) {
		ip.ip[2] = (uint8_t)(low >> 8);
		ip.ip[3] = (uint8_t)low;
		ck_assert_int_eq(tp_prefix_set_contains(&set, &ip), low % 2 == 0);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("cidr");
	tcase_add_table(tcase, a_right_prefix_is_read, right);
	tcase_add_table(tcase, a_wrong_prefix_is_told_and_changes_nothing, wrong);
	tcase_add_loop_test(tcase, every_length_reaches_to_its_last_address, 0, 33 + 129);
	tcase_add_test(tcase, an_empty_set_contains_nothing);
	tcase_add_test(tcase, no_address_is_in_no_set);
	tcase_add_test(tcase, the_families_are_kept_apart);
	tcase_add_test(tcase, a_mapped_address_counts_as_ipv4);
	tcase_add_test(tcase, nested_and_duplicate_prefixes_are_dropped);
	tcase_add_test(tcase, random_sets_are_searched_right);
	tcase_add_test(tcase, ten_thousand_prefixes_are_searched_right);
	tcase_add_test(tcase, ten_thousand_addresses_are_all_kept);
	return run_tests("cidr", tcase);
}
