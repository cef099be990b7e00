/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <inttypes.h>
#include <stdio.h>

#include "unit.h"

#define ROOM (sizeof((struct tp_text){0}.text))

static void assert_text(const struct tp_text *text, const char *expected)
{
	ck_assert_str_eq(text->text, expected);
	ck_assert_uint_eq(text->len, strlen(expected));
}

START_TEST(words_follow_one_another)
{
	struct tp_text text = {0};
	assert_text(&text, "");
	tp_text_put(&text, "refused ");
	tp_text_put(&text, "");
	tp_text_put(&text, "it");
	assert_text(&text, "refused it");
}
END_TEST

START_TEST(numbers_are_decimal)
{
	uint64_t numbers[200] = {
		0, 1, 9, 10, 99, 100, UINT32_MAX, UINT64_MAX, UINT64_MAX - 1};
	for (size_t i = 9; i < COUNT(numbers); i++)
		numbers[i] = draw() >> draw_below(64);
	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct tp_text text = {0};
		char expected[32];
		snprintf(expected, sizeof expected, "%" PRIu64, numbers[i]);
		tp_text_put_number(&text, numbers[i]);
		assert_text(&text, expected);
	}
}
END_TEST

static const struct {
	const char *ip, *expected;
} addrs[] = {
	{"192.0.2.1", "192.0.2.1:25"},
	{"2001:db8::1", "[2001:db8::1]:25"},
	{"::ffff:192.0.2.1", "[::ffff:192.0.2.1]:25"},
};

START_TEST(addresses_have_their_port)
{
	struct tp_text text = {0};
	struct tp_addr addr = {.port = 25};
	ck_assert(tp_addr_parse(addrs[_i].ip, strlen(addrs[_i].ip), AF_INET, &addr) ||
		  tp_addr_parse(addrs[_i].ip, strlen(addrs[_i].ip), AF_INET6, &addr));
	tp_text_put_addr(&text, &addr);
	assert_text(&text, addrs[_i].expected);
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
	const char *expected;
} quotes[] = {
	{"", 0, "\"\""},
	{"PROXY", 5, "\"PROXY\""},
	{"\r\n\t", 3, "\"\\r\\n\\t\""},
	{"\"\\", 2, "\"\\\"\\\\\""},
	{"a\0b", 3, "\"a\\x00b\""},
	{"\x1b[31m", 5, "\"\\x1b[31m\""},
	{"\x7f\x80\xff", 3, "\"\\x7f\\x80\\xff\""},
	{" ~", 2, "\" ~\""},
	{"%s%n", 4, "\"%s%n\""},
	{"\xc3\xa4", 2, "\"\\xc3\\xa4\""},
};

START_TEST(strangers_bytes_are_quoted)
{
	struct tp_text text = {0};
	tp_text_put_quoted(&text, flush_copy(quotes[_i].bytes, quotes[_i].len),
			   quotes[_i].len);
	assert_text(&text, quotes[_i].expected);
}
END_TEST

START_TEST(no_byte_comes_through_as_a_control)
{
	for (int byte = 0; byte < 256; byte++) {
		struct tp_text text = {0};
		tp_text_put_quoted(&text, &(uint8_t){(uint8_t)byte}, 1);
		for (size_t i = 0; i < text.len; i++)
			ck_assert(text.text[i] >= 0x20 && text.text[i] < 0x7f);
		ck_assert_uint_ge(text.len, 3);
	}
}
END_TEST

/* One of the four ways to add to a text. */
static void put_anything(struct tp_text *text)
{
	uint8_t bytes[40];
	struct tp_addr addr = {.family = AF_INET6, .port = 65535};
	draw_bytes(bytes, sizeof bytes);
	draw_bytes(addr.ip, sizeof addr.ip);
	switch (draw_below(4)) {
	case 0:
		tp_text_put(text, "some words");
		break;
	case 1:
		tp_text_put_number(text, draw());
		break;
	case 2:
		tp_text_put_addr(text, &addr);
		break;
	default:
		tp_text_put_quoted(text, bytes, sizeof bytes);
	}
}

START_TEST(what_does_not_fit_is_cut_off)
{
	for (int round = 0; round < 1000; round++) {
		struct {
			struct tp_text text;
			uint8_t guard[64];
		} made = {.text = {0}};
		memset(made.guard, 0x5a, sizeof made.guard);
		for (int i = 0; i < 60; i++) {
			put_anything(&made.text);
			ck_assert_uint_eq(made.text.len, strlen(made.text.text));
			ck_assert_uint_lt(made.text.len, ROOM);
		}
		ck_assert_uint_eq(made.text.len, ROOM - 1);
		for (size_t i = 0; i < sizeof made.guard; i++)
			ck_assert_uint_eq(made.guard[i], 0x5a);
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("text");
	tcase_add_test(tcase, words_follow_one_another);
	tcase_add_test(tcase, numbers_are_decimal);
	tcase_add_table(tcase, addresses_have_their_port, addrs);
	tcase_add_table(tcase, strangers_bytes_are_quoted, quotes);
	tcase_add_test(tcase, no_byte_comes_through_as_a_control);
	tcase_add_test(tcase, what_does_not_fit_is_cut_off);
	return run_tests("text", tcase);
}
