/* SPDX-License-Identifier: MIT */
#include "addr.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "unit.h"

static bool parse(const char *text, sa_family_t family, struct tp_addr *addr)
{
	size_t len = strlen(text);
	return tp_addr_parse(flush_copy(text, len), len, family, addr);
}

static struct tp_addr random_addr(sa_family_t family)
{
	struct tp_addr addr = {.family = family, .port = (uint16_t)draw()};
	draw_bytes(addr.ip, tp_addr_size(family));
	return addr;
}

/* Random, with many zeros in it: where the text is hard. */
static struct tp_addr random_sparse_ipv6(void)
{
	struct tp_addr addr = random_addr(AF_INET6);
	uint64_t zeros = draw();
	for (int i = 0; i < 16; i++)
		if (zeros >> (i / 2) & 1 || zeros >> (16 + i) & 1)
			addr.ip[i] = 0;
	return addr;
}

static const struct {
	const char *text, *canonical;
} right[] = {
	{"0.0.0.0", "0.0.0.0"},
	{"1.2.3.4", "1.2.3.4"},
	{"10.200.0.99", "10.200.0.99"},
	{"255.255.255.255", "255.255.255.255"},
	{"::", "::"},
	{"::1", "::1"},
	{"1::", "1::"},
	{"1::2", "1::2"},
	{"0:0:0:0:0:0:0:0", "::"},
	{"0:0:0:0:0:0:0:1", "::1"},
	{"2001:db8::1", "2001:db8::1"},
	{"2001:DB8::AbCd", "2001:db8::abcd"},
	{"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"},
	{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
	{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
	{"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
	{"1:2:3::5:6:7:8", "1:2:3:0:5:6:7:8"},
	{"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
	{"1:0:0:2:3:0:0:4", "1::2:3:0:0:4"},
	{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	{"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
	{"::FFFF:c000:201", "::ffff:192.0.2.1"},
	{"0:0:0:0:0:ffff:192.0.2.1", "::ffff:192.0.2.1"},
	{"::192.0.2.1", "::c000:201"},
	{"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
	{"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
	{"1:2:3:4:5::1.2.3.4", "1:2:3:4:5:0:102:304"},
	{"::2:3:4:5:6:1.2.3.4", "0:2:3:4:5:6:102:304"},
};

START_TEST(a_right_text_gives_the_canonical_one)
{
	const char *text = right[_i].text;
	bool ipv6 = strchr(text, ':');
	struct tp_addr addr = {.port = 7};
	char formatted[TP_ADDR_TEXT];
	ck_assert_msg(parse(text, ipv6 ? AF_INET6 : AF_INET, &addr), "%s", text);
	ck_assert_int_eq(addr.family, ipv6 ? AF_INET6 : AF_INET);
	ck_assert_int_eq(addr.port, 7);
	ck_assert_uint_eq(tp_addr_format(&addr, formatted), strlen(right[_i].canonical));
	ck_assert_str_eq(formatted, right[_i].canonical);
}
END_TEST

START_TEST(a_right_text_is_wrong_in_the_other_family)
{
	const char *text = right[_i].text;
	struct tp_addr addr = {0};
	ck_assert(!parse(text, strchr(text, ':') ? AF_INET : AF_INET6, &addr));
	ck_assert(!parse(text, AF_UNSPEC, &addr));
	ck_assert(!parse(text, AF_UNIX, &addr));
}
END_TEST

START_TEST(every_prefix_of_a_right_text_is_read_as_libc_reads_it)
{
	const char *text = right[_i].text;
	for (size_t len = 0; len <= strlen(text); len++) {
		char cut[TP_ADDR_TEXT] = "";
		uint8_t ip[16] = {0};
		struct tp_addr addr = {0};
		sa_family_t family = strchr(text, ':') ? AF_INET6 : AF_INET;
		memcpy(cut, text, len);
		bool ok = inet_pton(family, cut, ip) == 1;
		ck_assert_msg(parse(cut, family, &addr) == ok, "%s", cut);
		ck_assert_mem_eq(addr.ip, ip, ok ? tp_addr_size(family) : 0);
	}
}
END_TEST

static const char *const wrong[] = {
	"",
	" ",
	".",
	":",
	":::",
	"::::",
	"1",
	"1.2.3",
	"1.2.3.",
	"1.2.3.4.",
	"1.2.3.4.5",
	".1.2.3.4",
	"1..3.4",
	"1.2.3.256",
	"1.2.3.999",
	"1.2.3.1000",
	"01.2.3.4",
	"1.2.3.04",
	"00.0.0.0",
	"1.2.3.4 ",
	" 1.2.3.4",
	"1.2.3.4\n",
	"1.2.3.-4",
	"1.2.3.+4",
	"0x1.2.3.4",
	"1.2.3.a",
	"1,2,3,4",
	"16909060",
	"1.2.772",
	"localhost",
	"1:2:3:4:5:6:7",
	"1:2:3:4:5:6:7:8:9",
	"1:2:3:4:5:6:7:8:",
	"1:2:3:4:5:6:7:8::",
	"::1:2:3:4:5:6:7:8",
	"1:2:3:4::5:6:7:8",
	":1:2:3:4:5:6:7",
	"1:2:3:4:5:6:7:",
	":1::2",
	"1::2:",
	"1::2::3",
	"1:::2",
	"12345::",
	"00001::",
	"::g",
	"::1%lo",
	"::1%1",
	"[::1]",
	"::1/128",
	"::1 ",
	" ::1",
	"::ffff:1.2.3",
	"::ffff:1.2.3.4.5",
	"::ffff:1.2.3.256",
	"::ffff:01.2.3.4",
	"::ffff:1.2.3.4:5",
	"::1.2.3.4::",
	"1.2.3.4::",
	"1.2.3.4:5::",
	"::ffff:1.2.3.4 ",
	"1:2:3:4:5:6:7:1.2.3.4",
	"1:2:3:4:5:1.2.3.4",
	"::1:2:3:4:5:6:1.2.3.4",
	"::a.2.3.4",
	"::1000.2.3.4",
	"-1::",
	"0x1::",
	"1:2",
	"::ffff:",
	"::ffff:1.2.3.4.",
};

START_TEST(a_wrong_text_changes_nothing)
{
	const sa_family_t families[] = {AF_INET, AF_INET6};
	for (size_t i = 0; i < COUNT(families); i++) {
		struct tp_addr addr = random_addr(AF_INET6), before = addr;
		ck_assert_msg(!parse(wrong[_i], families[i], &addr), "%s", wrong[_i]);
		ck_assert_mem_eq(&addr, &before, sizeof addr);
	}
}
END_TEST

START_TEST(a_nul_within_the_text_is_wrong)
{
	struct tp_addr addr;
	ck_assert(!tp_addr_parse("1.2.3.4\0", 8, AF_INET, &addr));
	ck_assert(!tp_addr_parse("1.2\0.3.4", 8, AF_INET, &addr));
	ck_assert(!tp_addr_parse("::1\0", 4, AF_INET6, &addr));
}
END_TEST

START_TEST(any_ipv4_address_is_written_as_libc_writes_it)
{
	for (int i = 0; i < 20000; i++) {
		struct tp_addr addr = random_addr(AF_INET), again = {.port = addr.port};
		char text[TP_ADDR_TEXT], expected[INET6_ADDRSTRLEN];
		inet_ntop(AF_INET, addr.ip, expected, sizeof expected);
		ck_assert_uint_eq(tp_addr_format(&addr, text), strlen(expected));
		ck_assert_str_eq(text, expected);
		ck_assert(parse(text, AF_INET, &again));
		ck_assert_mem_eq(&again, &addr, sizeof addr);
	}
}
END_TEST

/* glibc writes the long dead IPv4-compatible addresses (::/96) with a dotted tail. */
static bool is_ipv4_compatible(const struct tp_addr *addr)
{
	static const uint8_t zero[12];
	return !memcmp(addr->ip, zero, sizeof zero);
}

START_TEST(any_ipv6_address_is_written_as_libc_writes_it)
{
	for (int i = 0; i < 50000; i++) {
		struct tp_addr addr = random_sparse_ipv6(), again = {.port = addr.port};
		char text[TP_ADDR_TEXT], expected[INET6_ADDRSTRLEN];
		inet_ntop(AF_INET6, addr.ip, expected, sizeof expected);
		ck_assert_uint_eq(tp_addr_format(&addr, text), strlen(text));
		if (!is_ipv4_compatible(&addr))
			ck_assert_str_eq(text, expected);
		ck_assert(parse(text, AF_INET6, &again));
		ck_assert_mem_eq(&again, &addr, sizeof addr);
	}
}
END_TEST

START_TEST(a_dotted_tail_is_read_as_libc_reads_it)
{
	for (int i = 0; i < 20000; i++) {
		struct tp_addr addr = random_sparse_ipv6(), read = {0};
		const uint8_t *ip = addr.ip;
		char text[TP_ADDR_TEXT];
		size_t len = tp_addr_format(&addr, text);
		while (len && text[len - 1] != ':')
			len--;
		snprintf(text + len, sizeof text - len, "%d.%d.%d.%d", ip[12], ip[13],
			 ip[14], ip[15]);
		uint8_t expected[16] = {0};
		bool ok = inet_pton(AF_INET6, text, expected) == 1;
		ck_assert_msg(parse(text, AF_INET6, &read) == ok, "%s", text);
		ck_assert_mem_eq(read.ip, expected, sizeof expected);
	}
}
END_TEST

static void change_a_byte(char *text, size_t len)
{
	static const char tempting[] = "0123456789abfAF.:: /%g";
	if (len)
		text[draw_below(len)] = tempting[draw_below(sizeof tempting - 1)];
}

START_TEST(any_text_is_read_as_libc_reads_it)
{
	for (int i = 0; i < 100000; i++) {
		struct tp_addr addr = i % 4 ? random_sparse_ipv6() : random_addr(AF_INET);
		char text[TP_ADDR_TEXT];
		size_t len = tp_addr_format(&addr, text);
		for (size_t n = draw_below(3); n; n--)
			change_a_byte(text, len);
		uint8_t expected[16] = {0};
		struct tp_addr read = {0};
		bool ok = inet_pton(addr.family, text, expected) == 1;
		ck_assert_msg(parse(text, addr.family, &read) == ok, "%s", text);
		ck_assert_mem_eq(read.ip, expected, ok ? sizeof expected : 0);
	}
}
END_TEST

START_TEST(no_address_is_written_as_a_question_mark)
{
	char text[TP_ADDR_TEXT];
	ck_assert_uint_eq(tp_addr_format(&(struct tp_addr){.family = AF_UNSPEC}, text),
			  1);
	ck_assert_str_eq(text, "?");
}
END_TEST

START_TEST(sizes_are_those_of_the_families)
{
	ck_assert_uint_eq(tp_addr_size(AF_INET), 4);
	ck_assert_uint_eq(tp_addr_size(AF_INET6), 16);
	ck_assert_uint_eq(tp_addr_size(AF_UNSPEC), 0);
	ck_assert_uint_eq(tp_addr_size(AF_UNIX), 0);
}
END_TEST

static const struct {
	const char *text, *unmapped;
} mapped[] = {
	{"::ffff:192.0.2.1", "192.0.2.1"}, {"::ffff:0.0.0.0", "0.0.0.0"},
	{"::fffe:c000:201", NULL},	   {"::192.0.2.1", NULL},
	{"1::ffff:192.0.2.1", NULL},	   {"::1", NULL},
};

START_TEST(only_a_mapped_address_is_unmapped)
{
	struct tp_addr addr = {.port = 25};
	ck_assert(parse(mapped[_i].text, AF_INET6, &addr));
	struct tp_addr plain = tp_addr_unmap(addr), expected = addr;
	if (mapped[_i].unmapped) {
		memset(expected.ip, 0, sizeof expected.ip);
		ck_assert(parse(mapped[_i].unmapped, AF_INET, &expected));
	}
	ck_assert_mem_eq(&plain, &expected, sizeof plain);
}
END_TEST

START_TEST(an_ipv4_address_is_not_unmapped)
{
	struct tp_addr addr = random_addr(AF_INET), plain = tp_addr_unmap(addr);
	ck_assert_mem_eq(&plain, &addr, sizeof addr);
}
END_TEST

START_TEST(the_kernels_form_comes_back_the_same)
{
	const sa_family_t families[] = {AF_INET, AF_INET6};
	for (size_t i = 0; i < COUNT(families); i++) {
		struct tp_addr addr = random_addr(families[i]);
		union tp_sockaddr kernel;
		socklen_t len = tp_addr_to_kernel(&addr, families[i], &kernel);
		ck_assert_uint_eq(len, i ? sizeof kernel.in6 : sizeof kernel.in);
		struct tp_addr again = tp_addr_from_kernel(&kernel);
		ck_assert_mem_eq(&again, &addr, sizeof addr);
	}
}
END_TEST

START_TEST(the_kernels_form_is_the_kernels)
{
	struct tp_addr addr = {.family = AF_INET, .port = 0x1234, .ip = {192, 0, 2, 1}};
	struct sockaddr_in expected = {.sin_family = AF_INET, .sin_port = htons(0x1234)};
	inet_pton(AF_INET, "192.0.2.1", &expected.sin_addr);
	union tp_sockaddr kernel;
	memset(&kernel, 0xff, sizeof kernel);
	ck_assert_uint_eq(tp_addr_to_kernel(&addr, AF_INET, &kernel), sizeof expected);
	ck_assert_mem_eq(&kernel, &expected, sizeof expected);
}
END_TEST

START_TEST(an_ipv4_address_on_an_ipv6_socket_is_mapped)
{
	struct tp_addr addr = {.family = AF_INET, .port = 0x1234, .ip = {192, 0, 2, 1}};
	struct sockaddr_in6 expected = {.sin6_family = AF_INET6,
					.sin6_port = htons(0x1234)};
	inet_pton(AF_INET6, "::ffff:192.0.2.1", &expected.sin6_addr);
	union tp_sockaddr kernel;
	memset(&kernel, 0xff, sizeof kernel);
	ck_assert_uint_eq(tp_addr_to_kernel(&addr, AF_INET6, &kernel), sizeof expected);
	ck_assert_mem_eq(&kernel, &expected, sizeof expected);
}
END_TEST

START_TEST(an_ipv6_address_on_an_ipv4_socket_stays_as_it_is)
{
	struct tp_addr addr = random_addr(AF_INET6);
	union tp_sockaddr kernel;
	ck_assert_uint_eq(tp_addr_to_kernel(&addr, AF_INET, &kernel), sizeof kernel.in6);
	struct tp_addr again = tp_addr_from_kernel(&kernel);
	ck_assert_mem_eq(&again, &addr, sizeof addr);
}
END_TEST

START_TEST(what_is_no_internet_address_has_no_form)
{
	union tp_sockaddr kernel = {.any.sa_family = AF_UNIX};
	ck_assert_int_eq(tp_addr_from_kernel(&kernel).family, AF_UNSPEC);
	struct tp_addr none = {.family = AF_UNSPEC};
	ck_assert_uint_eq(tp_addr_to_kernel(&none, AF_INET, &kernel), 0);
	ck_assert_uint_eq(tp_addr_to_kernel(&none, AF_INET6, &kernel), 0);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("addr");
	tcase_add_table(tcase, a_right_text_gives_the_canonical_one, right);
	tcase_add_table(tcase, a_right_text_is_wrong_in_the_other_family, right);
	tcase_add_table(tcase, every_prefix_of_a_right_text_is_read_as_libc_reads_it,
			right);
	tcase_add_table(tcase, a_wrong_text_changes_nothing, wrong);
	tcase_add_test(tcase, a_nul_within_the_text_is_wrong);
	tcase_add_test(tcase, any_ipv4_address_is_written_as_libc_writes_it);
	tcase_add_test(tcase, any_ipv6_address_is_written_as_libc_writes_it);
	tcase_add_test(tcase, a_dotted_tail_is_read_as_libc_reads_it);
	tcase_add_test(tcase, any_text_is_read_as_libc_reads_it);
	tcase_add_test(tcase, no_address_is_written_as_a_question_mark);
	tcase_add_test(tcase, sizes_are_those_of_the_families);
	tcase_add_table(tcase, only_a_mapped_address_is_unmapped, mapped);
	tcase_add_test(tcase, an_ipv4_address_is_not_unmapped);
	tcase_add_test(tcase, the_kernels_form_comes_back_the_same);
	tcase_add_test(tcase, the_kernels_form_is_the_kernels);
	tcase_add_test(tcase, an_ipv4_address_on_an_ipv6_socket_is_mapped);
	tcase_add_test(tcase, an_ipv6_address_on_an_ipv4_socket_stays_as_it_is);
	tcase_add_test(tcase, what_is_no_internet_address_has_no_form);
	return run_tests("addr", tcase);
}
