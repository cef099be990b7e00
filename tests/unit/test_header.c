/* SPDX-License-Identifier: MIT */
#include "header.h"

#include "crc32c.h"
#include "tlv.h"
#include "unit.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define NO_LIMIT TP_HEADER_V2_MAX

/* Bytes put together by hand, independently of the writer under test. */
struct bytes {
	size_t len;
	uint8_t at[1024];
};

static void add(struct bytes *bytes, const void *more, size_t len)
{
	if (len > sizeof bytes->at - bytes->len) /* an assertion costs a write each */
		abort();
	memcpy(bytes->at + bytes->len, more, len);
	bytes->len += len;
}

static void add16(struct bytes *bytes, size_t value)
{
	const uint8_t both[] = {(uint8_t)(value >> 8), (uint8_t)value};
	add(bytes, both, sizeof both);
}

/* The fixed part of a v2 header that announces `length` more bytes. */
static void add_v2(struct bytes *bytes, uint8_t command, uint8_t family, size_t length)
{
	add(bytes, SIGNATURE, 12);
	add(bytes, &command, 1);
	add(bytes, &family, 1);
	add16(bytes, length);
}

static void add_addrs(struct bytes *bytes, const struct tp_addr *src,
		      const struct tp_addr *dst)
{
	add(bytes, src->ip, tp_addr_size(src->family));
	add(bytes, dst->ip, tp_addr_size(dst->family));
	add16(bytes, src->port);
	add16(bytes, dst->port);
}

static void add_tlv(struct bytes *bytes, uint8_t type, const void *value, size_t len)
{
	add(bytes, &type, 1);
	add16(bytes, len);
	add(bytes, value, len);
}

/* Corrects the announced length of the v2 header, which is all there is. */
static void close_v2(struct bytes *bytes)
{
	bytes->at[14] = (uint8_t)((bytes->len - 16) >> 8);
	bytes->at[15] = (uint8_t)(bytes->len - 16);
}

static enum tp_verdict parse(const void *bytes, size_t len, struct tp_header *header)
{
	return tp_header_parse(flush_copy(bytes, len), len, NO_LIMIT, header);
}

static enum tp_verdict verdict(const struct bytes *bytes)
{
	struct tp_header header;
	return parse(bytes->at, bytes->len, &header);
}

static struct tp_addr addr(const char *text, uint16_t port)
{
	struct tp_addr made = {0};
	if (text)
		ck_assert(tp_addr_parse(text, strlen(text), AF_INET, &made) ||
			  tp_addr_parse(text, strlen(text), AF_INET6, &made));
	made.port = port;
	return made;
}

static void assert_same_addr(const struct tp_addr *a, const struct tp_addr *b)
{
	ck_assert_int_eq(a->family, b->family);
	ck_assert_uint_eq(a->port, b->port);
	ck_assert_mem_eq(a->ip, b->ip, sizeof a->ip);
}

/* All but the length, which another way of writing the same may change. */
static void assert_same_meaning(const struct tp_header *a, const struct tp_header *b)
{
	ck_assert_uint_eq(a->version, b->version);
	ck_assert_int_eq(a->command, b->command);
	ck_assert_int_eq(a->transport, b->transport);
	ck_assert_int_eq(a->family, b->family);
	ck_assert_int_eq(a->crc32c, b->crc32c);
	ck_assert_int_eq(!a->unix_paths, !b->unix_paths);
	assert_same_addr(&a->src, &b->src);
	assert_same_addr(&a->dst, &b->dst);
	if (a->unix_paths)
		ck_assert_mem_eq(a->unix_paths, b->unix_paths, TP_UNIX_PATHS);
}

static void assert_same_tlvs(const struct tp_header *a, const struct tp_header *b)
{
	ck_assert_uint_eq(a->tlvs_length, b->tlvs_length);
	ck_assert_int_eq(!a->tlvs, !b->tlvs);
	if (a->tlvs)
		ck_assert_mem_eq(a->tlvs, b->tlvs, a->tlvs_length);
}

/* ---- version 1, a table ---- */

#define LONGEST "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define X10 "xxxxxxxxxx"
#define X80 X10 X10 X10 X10 X10 X10 X10 X10

static const struct {
	const char *line; /* without its CRLF */
	const char *canonical;
	const char *src, *dst; /* NULL: UNKNOWN */
	uint16_t sport, dport;
} v1_right[] = {
	{"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", NULL, "192.168.0.1",
	 "192.168.0.11", 56324, 443},
	{"PROXY TCP4 0.0.0.0 0.0.0.0 0 0", NULL, "0.0.0.0", "0.0.0.0", 0, 0},
	{"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535", NULL,
	 "255.255.255.255", "255.255.255.255", 65535, 65535},
	{"PROXY TCP6 2001:db8::1 ::1 1 65535", NULL, "2001:db8::1", "::1", 1, 65535},
	{"PROXY TCP6 " LONGEST " " LONGEST " 65535 65535", NULL, LONGEST, LONGEST, 65535,
	 65535},
	{"PROXY TCP6 0:0:0:0:0:0:0:1 2001:0DB8:: 10 9", "PROXY TCP6 ::1 2001:db8:: 10 9",
	 "::1", "2001:db8::", 10, 9},
	{"PROXY TCP6 ::ffff:c000:201 ::ffff:1.2.3.4 5 6",
	 "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:1.2.3.4 5 6", "::ffff:192.0.2.1",
	 "::ffff:1.2.3.4", 5, 6},
	{"PROXY UNKNOWN", NULL, NULL, NULL, 0, 0},
	{"PROXY UNKNOWN ", "PROXY UNKNOWN", NULL, NULL, 0, 0},
	{"PROXY UNKNOWN  \t\n\r x \r", "PROXY UNKNOWN", NULL, NULL, 0, 0},
	{"PROXY UNKNOWN TCP4 1.2.3.4 1.2.3.4 1 1", "PROXY UNKNOWN", NULL, NULL, 0, 0},
	{"PROXY UNKNOWN " X80 X10 "x", "PROXY UNKNOWN", NULL, NULL, 0, 0},
};

static size_t v1_line(const char *line, char text[TP_HEADER_V1_MAX + 2])
{
	size_t len = strlen(line);
	ck_assert_uint_le(len + 2, TP_HEADER_V1_MAX + 1);
	memcpy(text, line, len);
	memcpy(text + len, "\r\n", 2);
	return len + 2;
}

START_TEST(v1_right_lines_say_their_addresses)
{
	char line[TP_HEADER_V1_MAX + 2];
	size_t len = v1_line(v1_right[_i].line, line);
	struct tp_addr src = addr(v1_right[_i].src, v1_right[_i].sport);
	struct tp_addr dst = addr(v1_right[_i].dst, v1_right[_i].dport);
	struct tp_header header;
	ck_assert_int_eq(parse(line, len, &header), TP_DONE);
	ck_assert_uint_eq(header.length, len);
	ck_assert_uint_eq(header.version, 1);
	ck_assert_int_eq(header.command, v1_right[_i].src ? TP_PROXY : TP_UNKNOWN);
	ck_assert_int_eq(header.family, src.family);
	ck_assert_int_eq(tp_header_names_client(&header), !!v1_right[_i].src);
	assert_same_addr(&header.src, &src);
	assert_same_addr(&header.dst, &dst);
	ck_assert_ptr_null(header.tlvs);
	ck_assert_ptr_null(header.unix_paths);
}
END_TEST

START_TEST(v1_is_written_canonically)
{
	char line[TP_HEADER_V1_MAX + 2], expected[TP_HEADER_V1_MAX + 2];
	const char *canonical = v1_right[_i].canonical;
	size_t len = v1_line(v1_right[_i].line, line);
	size_t expected_len = canonical ? v1_line(canonical, expected)
					: v1_line(v1_right[_i].line, expected);
	uint8_t written[TP_HEADER_V1_MAX];
	struct tp_header header;
	ck_assert_int_eq(parse(line, len, &header), TP_DONE);
	ck_assert_uint_eq(tp_header_write(&header, written, sizeof written),
			  expected_len);
	ck_assert_mem_eq(written, expected, expected_len);
}
END_TEST

#define AND_ADDRS " 1.2.3.4 5.6.7.8"
#define IN_V4 "PROXY TCP4" AND_ADDRS " "

static const char *const v1_wrong[] = {
	"PROXY ",
	"PROXY  UNKNOWN",
	"PROXY UNKNOWNX",
	"PROXY unknown",
	"PROXY UNKNOWN\tX",
	"PROXY UNKNOWN\r",
	"PROXY UNKNOWN\n",
	"PROXY TCP4",
	"PROXY TCP4 ",
	"PROXY TCP4" AND_ADDRS,
	"PROXY TCP" AND_ADDRS " 1 2",
	"PROXY TCP5" AND_ADDRS " 1 2",
	"PROXY TCP44" AND_ADDRS " 1 2",
	"PROXY tcp4" AND_ADDRS " 1 2",
	"PROXY UDP4" AND_ADDRS " 1 2",
	"PROXY TCP6" AND_ADDRS " 1 2",
	"PROXY  TCP4" AND_ADDRS " 1 2",
	"PROXY TCP4 " AND_ADDRS " 1 2",
	"PROXY TCP4\t1.2.3.4 5.6.7.8 1 2",
	"PROXY TCP4 1.2.3.4  5.6.7.8 1 2",
	"PROXY TCP4 1.2.3.4\t5.6.7.8 1 2",
	"PROXY TCP4 ::1 ::2 1 2",
	"PROXY TCP4 1.2.3.4 ::2 1 2",
	"PROXY TCP6 ::1 5.6.7.8 1 2",
	"PROXY TCP4 ::ffff:1.2.3.4 5.6.7.8 1 2",
	"PROXY TCP4 1.2.3 5.6.7.8 1 2",
	"PROXY TCP4 01.2.3.4 5.6.7.8 1 2",
	"PROXY TCP4 1.2.3.256 5.6.7.8 1 2",
	"PROXY TCP4 1.2.3.4/32 5.6.7.8 1 2",
	"PROXY TCP6 ::1%lo ::2 1 2",
	"PROXY TCP6 [::1] ::2 1 2",
	"PROXY TCP6 1::2::3 ::2 1 2",
	"PROXY TCP6 12345:: ::2 1 2",
	IN_V4,
	IN_V4 "1",
	IN_V4 "1 ",
	IN_V4 " 1 2",
	IN_V4 "1  2",
	IN_V4 "1 2 ",
	IN_V4 "1 2  ",
	IN_V4 "1 2 3",
	IN_V4 "1 2 x",
	IN_V4 "1 02",
	IN_V4 "01 2",
	IN_V4 "00 2",
	IN_V4 "1 65536",
	IN_V4 "65536 1",
	IN_V4 "1 99999",
	IN_V4 "1 100000",
	IN_V4 "1 4294967297",
	IN_V4 "-1 2",
	IN_V4 "+1 2",
	IN_V4 "1 2\t",
	IN_V4 "1\t2",
	IN_V4 "1 2\r",
	IN_V4 "1 2\n",
	IN_V4 "\t1 2",
	IN_V4 "1 0x2",
	IN_V4 "1 2a",
	IN_V4 "a 2",
	"PROXY X\r",
	"PROXY \r",
};

START_TEST(v1_wrong_lines_are_bad)
{
	char line[TP_HEADER_V1_MAX + 2];
	size_t len = v1_line(v1_wrong[_i], line);
	struct tp_header header;
	ck_assert_msg(parse(line, len, &header) == TP_BAD, "%s", v1_wrong[_i]);
	ck_assert_ptr_nonnull(header.reason);
	ck_assert_uint_le(header.offset, len);
}
END_TEST

START_TEST(v1_bad_lines_tell_the_place)
{
	const struct {
		const char *line;
		size_t offset;
	} places[] = {
		{"PROXY XCP4 1.2.3.4 5.6.7.8 1 2\r\n", 6},
		{"PROXY TCP4 1.2.3.x 5.6.7.8 1 2\r\n", 11},
		{"PROXY TCP4 1.2.3.4 5.6.7.x 1 2\r\n", 19},
		{"PROXY TCP4 1.2.3.4 5.6.7.8 x 2\r\n", 27},
		{"PROXY TCP4 1.2.3.4 5.6.7.8 1 x\r\n", 29},
		{"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 x\r\n", 31},
	};
	for (size_t i = 0; i < COUNT(places); i++) {
		struct tp_header header;
		ck_assert_int_eq(parse(places[i].line, strlen(places[i].line), &header),
				 TP_BAD);
		ck_assert_uint_eq(header.offset, places[i].offset);
	}
}
END_TEST

static const struct {
	const char *line;
	const char *src, *dst; /* NULL: bad in any case */
} mixed[] = {
	{"PROXY TCP6 2001:db8::7 192.0.2.1 56324 443\r\n", "2001:db8::7", "192.0.2.1"},
	{"PROXY TCP4 203.0.113.7 2001:db8::1 56324 443\r\n", "203.0.113.7",
	 "2001:db8::1"},
	{"PROXY TCP4 203.0.113.7 ::ffff:192.0.2.1 1 2\r\n", "203.0.113.7",
	 "::ffff:192.0.2.1"},
	{"PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n", NULL, NULL},
	{"PROXY TCP6 203.0.113.7 2001:db8::1 1 2\r\n", NULL, NULL},
	{"PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n", NULL, NULL},
	{"PROXY TCP4 203.0.113.7 192.0.2.256 1 2\r\n", NULL, NULL},
	{"PROXY TCP4 203.0.113.7 2001:db8::1x 1 2\r\n", NULL, NULL},
	{"PROXY TCP4 203.0.113.7  1 2\r\n", NULL, NULL},
};

START_TEST(v1_destination_of_the_other_family_is_taken_where_it_is_asked_for)
{
	const struct tp_header_limits lenient = {NO_LIMIT, true};
	size_t len = strlen(mixed[_i].line);
	const uint8_t *line = flush_copy(mixed[_i].line, len);
	struct tp_header header;
	ck_assert_int_eq(tp_header_parse(line, len, NO_LIMIT, &header), TP_BAD);
	enum tp_verdict expected = mixed[_i].src ? TP_DONE : TP_BAD;
	ck_assert_int_eq(tp_header_parse_within(line, len, &lenient, &header), expected);
	if (expected == TP_BAD)
		return;
	struct tp_addr src = addr(mixed[_i].src, header.src.port);
	struct tp_addr dst = addr(mixed[_i].dst, header.dst.port);
	ck_assert_mem_eq(&header.src, &src, sizeof src);
	ck_assert_mem_eq(&header.dst, &dst, sizeof dst);
	ck_assert(tp_header_names_client(&header));
	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(tp_header_parse_within(flush_copy(mixed[_i].line, cut),
							cut, &lenient, &header),
				 TP_MORE);
}
END_TEST

START_TEST(v1_takes_107_bytes_and_not_one_more)
{
	char line[] = "PROXY UNKNOWN " X80 X10 "xx\r\n";
	struct tp_header header;
	ck_assert_uint_eq(strlen(line), 108);
	ck_assert_int_eq(parse(line, 106, &header), TP_MORE);
	ck_assert_uint_eq(header.length, 107);
	ck_assert_int_eq(parse(line, 107, &header), TP_BAD);
	ck_assert_int_eq(parse(line, 108, &header), TP_BAD);
	memcpy(line + 105, "\r\n", 2);
	ck_assert_int_eq(parse(line, 107, &header), TP_DONE);
	ck_assert_uint_eq(header.length, 107);
}
END_TEST

START_TEST(v1_lines_end_at_cr_lf_only)
{
	const char *const unfinished[] = {
		"PROXY UNKNOWN\n",
		"PROXY UNKNOWN\r",
		"PROXY UNKNOWN\n\r",
		"PROXY UNKNOWN\r\r",
		"PROXY UNKNOWN\r \n",
		IN_V4 "1 2\n",
		IN_V4 "1 2\nGET / HTTP/1.1\n",
	};
	for (size_t i = 0; i < COUNT(unfinished); i++) {
		struct tp_header header;
		ck_assert_int_eq(parse(unfinished[i], strlen(unfinished[i]), &header),
				 TP_MORE);
	}
}
END_TEST

/* ---- version 2, from the same table ---- */

static const struct {
	uint8_t nibble, block;
} families[] = {{0x00, 0}, {0x10, 12}, {0x20, 36}, {0x30, 216}};

static uint8_t family_byte(const struct tp_addr *src)
{
	return src->family == AF_INET ? 0x11 : src->family == AF_INET6 ? 0x21 : 0x00;
}

static struct bytes v2_of(size_t row)
{
	struct tp_addr src = addr(v1_right[row].src, v1_right[row].sport);
	struct tp_addr dst = addr(v1_right[row].dst, v1_right[row].dport);
	struct bytes bytes = {0};
	add_v2(&bytes, v1_right[row].src ? 0x21 : 0x20, family_byte(&src), 0);
	if (v1_right[row].src)
		add_addrs(&bytes, &src, &dst);
	close_v2(&bytes);
	return bytes;
}

START_TEST(v2_says_the_same_as_v1)
{
	char line[TP_HEADER_V1_MAX + 2];
	size_t len = v1_line(v1_right[_i].line, line);
	struct bytes bytes = v2_of((size_t)_i);
	struct tp_header one, two;
	ck_assert_int_eq(parse(line, len, &one), TP_DONE);
	ck_assert_int_eq(parse(bytes.at, bytes.len, &two), TP_DONE);
	ck_assert_uint_eq(two.length, bytes.len);
	ck_assert_uint_eq(two.version, 2);
	ck_assert_int_eq(two.command, v1_right[_i].src ? TP_PROXY : TP_LOCAL);
	ck_assert_int_eq(two.transport, one.transport);
	ck_assert_int_eq(two.family, one.family);
	ck_assert_int_eq(tp_header_names_client(&one), tp_header_names_client(&two));
	assert_same_addr(&one.src, &two.src);
	assert_same_addr(&one.dst, &two.dst);
}
END_TEST

START_TEST(v1_and_v2_are_written_from_one_another)
{
	char line[TP_HEADER_V1_MAX + 2], expected[TP_HEADER_V1_MAX + 2];
	const char *canonical = v1_right[_i].canonical;
	size_t len = v1_line(v1_right[_i].line, line);
	size_t canonical_len =
		v1_line(canonical ? canonical : v1_right[_i].line, expected);
	struct bytes bytes = v2_of((size_t)_i);
	uint8_t written[256];
	struct tp_header header;
	ck_assert_int_eq(parse(line, len, &header), TP_DONE);
	header.version = 2;
	ck_assert_uint_eq(tp_header_write(&header, written, sizeof written), bytes.len);
	ck_assert_mem_eq(written, bytes.at, bytes.len);
	ck_assert_int_eq(parse(bytes.at, bytes.len, &header), TP_DONE);
	header.version = 1;
	ck_assert_uint_eq(tp_header_write(&header, written, sizeof written),
			  canonical_len);
	ck_assert_mem_eq(written, expected, canonical_len);
}
END_TEST

/* One byte less: too short for its family. More: a TLV that is whole, or not. */
START_TEST(v2_announces_one_byte_more_or_less)
{
	const uint8_t block = families[_i].block;
	static const uint8_t zero[TP_UNIX_PATHS];
	static const enum tp_verdict expected[] = {TP_DONE, TP_BAD, TP_BAD, TP_DONE,
						   TP_BAD,  TP_BAD, TP_DONE};
	struct bytes bytes = {0};
	struct tp_header header;
	add_v2(&bytes, 0x21, families[_i].nibble | 1, block - 1u);
	add(&bytes, zero, block);
	ck_assert_int_eq(verdict(&bytes), TP_BAD);
	ck_assert_int_eq(parse(bytes.at, 16, &header), TP_BAD);
	ck_assert_uint_eq(header.offset, 14);
	for (size_t more = 0; more < COUNT(expected); more++) {
		bytes.at[15] = (uint8_t)(block + more);
		if (more)
			ck_assert_int_eq(verdict(&bytes), TP_MORE);
		add(&bytes, zero, more ? 1 : 0);
		ck_assert_int_eq(verdict(&bytes), expected[more]);
	}
}
END_TEST

/* What sections 2.2 and 2.2.1 say of bytes 13 and 14, when 216 bytes follow, all zero. */
static enum tp_verdict expected_verdict(unsigned command, unsigned family)
{
	if (command == 0x20)
		return TP_DONE;
	return command == 0x21 && family >> 4 <= 3 && (family & 15) <= 2 ? TP_DONE
									 : TP_BAD;
}

START_TEST(v2_takes_the_commands_and_families_there_are)
{
	struct bytes bytes = {0};
	static const uint8_t zero[TP_UNIX_PATHS];
	add_v2(&bytes, 0, 0, sizeof zero);
	add(&bytes, zero, sizeof zero);
	for (unsigned command = 0; command < 256; command++) {
		for (unsigned family = 0; family < 256; family++) {
			struct tp_header header;
			bytes.at[12] = (uint8_t)command;
			bytes.at[13] = (uint8_t)family;
			ck_assert_int_eq(parse(bytes.at, bytes.len, &header),
					 expected_verdict(command, family));
			bool client =
				command == 0x21 && (family == 0x11 || family == 0x21);
			ck_assert_int_eq(tp_header_names_client(&header), client);
		}
	}
}
END_TEST

START_TEST(v2_refuses_what_it_sees_in_the_first_16_bytes)
{
	struct bytes bytes = {0};
	struct tp_header header;
	add_v2(&bytes, 0x21, 0x11, 65535);
	ck_assert_int_eq(parse(bytes.at, 16, &header), TP_MORE);
	ck_assert_uint_eq(header.length, TP_HEADER_V2_MAX);
	bytes.at[12] = 0x11;
	ck_assert_int_eq(parse(bytes.at, 16, &header), TP_BAD);
	ck_assert_uint_eq(header.offset, 12);
	bytes.at[12] = 0x22;
	ck_assert_int_eq(parse(bytes.at, 16, &header), TP_BAD);
	ck_assert_uint_eq(header.offset, 12);
	bytes.at[12] = 0x21;
	bytes.at[13] = 0x41;
	ck_assert_int_eq(parse(bytes.at, 16, &header), TP_BAD);
	ck_assert_uint_eq(header.offset, 13);
	bytes.at[13] = 0x13;
	ck_assert_int_eq(parse(bytes.at, 16, &header), TP_BAD);
	ck_assert_uint_eq(header.offset, 13);
}
END_TEST

START_TEST(v2_local_and_unspec_are_skipped_unread)
{
	static const uint8_t fixed[][2] = {{0x20, 0x00}, {0x20, 0x11}, {0x20, 0x21},
					   {0x20, 0x31}, {0x20, 0x41}, {0x20, 0xff},
					   {0x21, 0x00}, {0x21, 0x01}, {0x21, 0x02},
					   {0x21, 0x10}, {0x21, 0x20}, {0x21, 0x30}};
	for (size_t i = 0; i < COUNT(fixed); i++) {
		for (size_t len = 0; len < 300; len += 1 + len / 20) {
			struct bytes bytes = {0};
			struct tp_header header;
			uint8_t junk[300];
			draw_bytes(junk, len);
			add_v2(&bytes, fixed[i][0], fixed[i][1], len);
			add(&bytes, junk, len);
			ck_assert_int_eq(parse(bytes.at, bytes.len, &header), TP_DONE);
			ck_assert_uint_eq(header.length, bytes.len);
			ck_assert_int_eq(header.src.family, AF_UNSPEC);
			ck_assert_ptr_null(header.tlvs);
			ck_assert(!tp_header_names_client(&header));
		}
	}
}
END_TEST

START_TEST(v2_keeps_to_the_limit)
{
	struct bytes bytes = v2_of(0);
	struct tp_header header;
	for (size_t len = 16; len <= bytes.len; len++) {
		const uint8_t *at = flush_copy(bytes.at, len);
		ck_assert_int_eq(tp_header_parse(at, len, bytes.len, &header),
				 len == bytes.len ? TP_DONE : TP_MORE);
		ck_assert_int_eq(tp_header_parse(at, len, bytes.len - 1, &header),
				 TP_BAD);
		ck_assert_uint_eq(header.offset, 14);
	}
}
END_TEST

START_TEST(v2_can_be_65551_bytes_long)
{
	static uint8_t longest[TP_HEADER_V2_MAX], written[TP_HEADER_V2_MAX];
	struct bytes start = {0};
	struct tp_header header;
	draw_bytes(longest, sizeof longest);
	add_v2(&start, 0x21, 0x11, 65535);
	memcpy(longest, start.at, start.len);
	memcpy(longest + 28, "\xe0\xff\xf0", 3); /* one TLV of 65535 - 12 - 3 bytes */
	ck_assert_int_eq(parse(longest, sizeof longest - 1, &header), TP_MORE);
	ck_assert_uint_eq(header.length, sizeof longest);
	ck_assert_int_eq(parse(longest, sizeof longest, &header), TP_DONE);
	ck_assert_uint_eq(tp_header_write(&header, written, sizeof written),
			  sizeof written);
	ck_assert_mem_eq(written, longest, sizeof written);
	header.crc32c = true; /* now it would need 7 bytes more than the format has */
	ck_assert_uint_eq(tp_header_write(&header, written, sizeof written), 0);
}
END_TEST

/* ---- what cannot begin a header ---- */

START_TEST(the_first_wrong_byte_decides)
{
	static const struct {
		const char *mark;
		size_t size;
	} marks[] = {{"PROXY ", 6}, {SIGNATURE, 12}};
	for (size_t m = 0; m < COUNT(marks); m++) {
		for (size_t len = 1; len <= marks[m].size; len++) {
			uint8_t bytes[12];
			struct tp_header header;
			memcpy(bytes, marks[m].mark, len);
			for (unsigned byte = 0; byte < 256; byte++) {
				bytes[len - 1] = (uint8_t)byte;
				bool right = byte == (uint8_t)marks[m].mark[len - 1] ||
					     (len == 1 && (byte == 'P' || byte == '\r'));
				ck_assert_int_eq(parse(bytes, len, &header),
						 right ? TP_MORE : TP_NONE);
			}
		}
	}
}
END_TEST

START_TEST(nothing_says_more)
{
	struct tp_header header;
	ck_assert_int_eq(parse("", 0, &header), TP_MORE);
	ck_assert_uint_eq(header.length, 1);
}
END_TEST

/* ---- TLVs and the checksum ---- */

static struct bytes tlv_header(void)
{
	struct tp_addr src = addr("192.0.2.1", 1), dst = addr("192.0.2.2", 2);
	struct bytes bytes = {0};
	add_v2(&bytes, 0x21, 0x11, 0);
	add_addrs(&bytes, &src, &dst);
	return bytes;
}

/* The checksum of the whole as it stands, put at `at`, where zeros stand. */
static void put_checksum(struct bytes *bytes, size_t at)
{
	close_v2(bytes);
	uint32_t crc = tp_crc32c(0, bytes->at, bytes->len);
	for (int i = 0; i < 4; i++)
		bytes->at[at + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
}

static struct bytes checked_header(void)
{
	struct bytes bytes = tlv_header();
	add_tlv(&bytes, TP_TLV_ALPN, "h2", 2);
	add_tlv(&bytes, TP_TLV_CRC32C, "\0\0\0\0", 4);
	size_t at = bytes.len - 4;
	add_tlv(&bytes, TP_TLV_NOOP, "xyz", 3);
	put_checksum(&bytes, at);
	return bytes;
}

START_TEST(a_right_checksum_is_told)
{
	struct bytes bytes = checked_header();
	struct tp_header header;
	ck_assert_int_eq(parse(bytes.at, bytes.len, &header), TP_DONE);
	ck_assert(header.crc32c);
	ck_assert_uint_eq(header.tlvs_length, bytes.len - 28);
}
END_TEST

START_TEST(no_checksum_survives_a_changed_bit)
{
	struct bytes bytes = checked_header();
	for (size_t bit = 0; bit < 8 * bytes.len; bit++) {
		struct tp_header header;
		uint8_t mask = (uint8_t)(1u << bit % 8);
		bytes.at[bit / 8] ^= mask;
		if (parse(bytes.at, bytes.len, &header) == TP_DONE)
			ck_assert(!header.crc32c);
		bytes.at[bit / 8] ^= mask;
	}
}
END_TEST

START_TEST(a_wrong_checksum_is_bad)
{
	struct bytes bytes = checked_header();
	struct tp_header header;
	bytes.at[bytes.len - 1] ^= 1;
	ck_assert_int_eq(parse(bytes.at, bytes.len, &header), TP_BAD);
	ck_assert_uint_eq(header.offset, 28 + 5);
}
END_TEST

START_TEST(a_second_checksum_is_bad)
{
	struct bytes bytes = tlv_header();
	add_tlv(&bytes, TP_TLV_CRC32C, "\0\0\0\0", 4);
	add_tlv(&bytes, TP_TLV_CRC32C, "\0\0\0\0", 4);
	put_checksum(&bytes, bytes.len - 11);
	ck_assert_int_eq(verdict(&bytes), TP_BAD);
}
END_TEST

START_TEST(a_checksum_has_four_bytes)
{
	for (size_t size = 0; size < 9; size++) {
		struct bytes bytes = tlv_header();
		add_tlv(&bytes, TP_TLV_CRC32C, "\0\0\0\0\0\0\0\0", size);
		close_v2(&bytes);
		if (size >= 4)
			put_checksum(&bytes, 28 + 3);
		ck_assert_int_eq(verdict(&bytes), size == 4 ? TP_DONE : TP_BAD);
	}
}
END_TEST

START_TEST(a_unique_id_has_128_bytes_at_the_most)
{
	static const uint8_t id[129];
	for (size_t size = 0; size <= sizeof id; size++) {
		struct bytes bytes = tlv_header();
		add_tlv(&bytes, TP_TLV_UNIQUE_ID, id, size);
		close_v2(&bytes);
		ck_assert_int_eq(verdict(&bytes), size <= 128 ? TP_DONE : TP_BAD);
	}
}
END_TEST

START_TEST(a_tlv_that_runs_past_the_end_is_bad)
{
	struct bytes whole = tlv_header();
	add_tlv(&whole, TP_TLV_ALPN, "http/1.1", 8);
	size_t first = whole.len;
	add_tlv(&whole, 0xea, "value", 5);
	for (size_t len = 28; len <= whole.len; len++) {
		struct bytes cut = whole;
		struct tp_header header;
		cut.len = len;
		close_v2(&cut);
		bool framed = len == 28 || len == first || len == whole.len;
		ck_assert_int_eq(parse(cut.at, len, &header), framed ? TP_DONE : TP_BAD);
		ck_assert_uint_eq(framed ? header.tlvs_length : header.offset,
				  framed	? len - 28
				  : len < first ? 28
						: first);
	}
}
END_TEST

START_TEST(tlvs_are_read_one_after_the_other)
{
	struct bytes bytes = {0};
	struct tp_tlv tlv;
	size_t at = 0;
	add_tlv(&bytes, TP_TLV_ALPN, "h2", 2);
	add_tlv(&bytes, TP_TLV_NOOP, "", 0);
	add_tlv(&bytes, 0xff, (const uint8_t[300]){1}, 300);
	const uint8_t *start = flush_copy(bytes.at, bytes.len);
	ck_assert(tp_tlv_next(start, bytes.len, &at, &tlv));
	ck_assert(tlv.type == TP_TLV_ALPN && tlv.length == 2 && tlv.value == start + 3);
	ck_assert(tp_tlv_next(start, bytes.len, &at, &tlv));
	ck_assert(tlv.type == TP_TLV_NOOP && tlv.length == 0 && at == 8);
	ck_assert(tp_tlv_next(start, bytes.len, &at, &tlv));
	ck_assert(tlv.type == 0xff && tlv.length == 300 && tlv.value == start + 11);
	ck_assert(!tp_tlv_next(start, bytes.len, &at, &tlv));
	ck_assert_uint_eq(at, bytes.len);
}
END_TEST

START_TEST(crc32c_gives_the_known_answers)
{
	/* RFC 3720 appendix B.4, and the check value of the catalogues. */
	uint8_t bytes[32] = {0};
	ck_assert_uint_eq(tp_crc32c(0, bytes, 0), 0);
	ck_assert_uint_eq(tp_crc32c(0, bytes, sizeof bytes), 0x8a9136aa);
	memset(bytes, 0xff, sizeof bytes);
	ck_assert_uint_eq(tp_crc32c(0, bytes, sizeof bytes), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = i;
	ck_assert_uint_eq(tp_crc32c(0, bytes, sizeof bytes), 0x46dd794e);
	for (uint8_t i = 0; i < 32; i++)
		bytes[i] = 31 - i;
	ck_assert_uint_eq(tp_crc32c(0, bytes, sizeof bytes), 0x113fdb5c);
	ck_assert_uint_eq(tp_crc32c(0, (const uint8_t *)"123456789", 9), 0xe3069283);
}
END_TEST

START_TEST(crc32c_is_the_same_in_pieces)
{
	uint8_t bytes[64];
	draw_bytes(bytes, sizeof bytes);
	uint32_t whole = tp_crc32c(0, bytes, sizeof bytes);
	for (size_t cut = 0; cut <= sizeof bytes; cut++) {
		uint32_t first = tp_crc32c(0, bytes, cut);
		ck_assert_uint_eq(tp_crc32c(first, bytes + cut, sizeof bytes - cut),
				  whole);
	}
}
END_TEST

/* ---- the laws, over one example of each kind of header ---- */

static struct bytes examples[2 * COUNT(v1_right) + 2 + 3 * COUNT(families)];
static size_t example_count;

static void add_example(struct bytes bytes)
{
	ck_assert_uint_lt(example_count, COUNT(examples));
	examples[example_count++] = bytes;
}

static struct bytes with_fixed_part(uint8_t command, uint8_t family, size_t body)
{
	static const uint8_t tail[] = {TP_TLV_NOOP, 0, 2, 'n', 'o', 0xe0, 0, 0};
	struct bytes bytes = {0};
	add_v2(&bytes, command, family, 0);
	for (size_t i = 0; i < body; i++)
		bytes.at[bytes.len++] = (uint8_t)('a' + i % 26);
	add(&bytes, tail, sizeof tail);
	close_v2(&bytes);
	return bytes;
}

static void make_examples(void)
{
	example_count = 0;
	for (size_t i = 0; i < COUNT(v1_right); i++) {
		char line[TP_HEADER_V1_MAX + 2];
		struct bytes bytes = {0};
		add(&bytes, line, v1_line(v1_right[i].line, line));
		add_example(bytes);
		add_example(v2_of(i));
	}
	add_example(checked_header());
	add_example(with_fixed_part(0x20, 0x11, 0));
	for (size_t family = 0; family < COUNT(families); family++)
		for (unsigned transport = 0; transport < 3; transport++)
			add_example(with_fixed_part(
				0x21, (uint8_t)(families[family].nibble | transport),
				families[family].block));
	ck_assert_uint_eq(example_count, COUNT(examples));
}

START_TEST(every_proper_prefix_says_more)
{
	const struct bytes *whole = &examples[_i];
	for (size_t len = 0; len < whole->len; len++) {
		struct tp_header header;
		ck_assert_int_eq(parse(whole->at, len, &header), TP_MORE);
		ck_assert_uint_gt(header.length, len);
		ck_assert_uint_le(header.length, whole->len);
	}
	ck_assert_int_eq(verdict(whole), TP_DONE);
}
END_TEST

/* The ways to go on from a cut header that are likely to change the answer. */
enum { AS_BEFORE, ZEROS, JUNK, LINE_END, RANDOM, WAYS };

static void go_on(uint8_t *bytes, const struct bytes *whole, size_t from, size_t to,
		  int way)
{
	if (way == AS_BEFORE)
		memcpy(bytes + from, whole->at + from, to - from);
	else if (way == RANDOM)
		draw_bytes(bytes + from, to - from);
	else
		memset(bytes + from, way == ZEROS ? 0 : 'x', to - from);
	if (way == LINE_END && bytes[from - 1] == '\r' && to == from + 1)
		bytes[from] = '\n';
	else if (way == LINE_END && to >= from + 2)
		memcpy(bytes + to - 2, "\r\n", 2);
}

START_TEST(fewer_bytes_than_it_asks_for_change_nothing)
{
	const struct bytes *whole = &examples[_i];
	uint8_t bytes[512];
	for (size_t cut = 1; cut < whole->len; cut++) {
		struct tp_header header;
		memcpy(bytes, whole->at, cut);
		ck_assert_int_eq(parse(bytes, cut, &header), TP_MORE);
		size_t need = header.length;
		for (size_t len = cut + 1; len < need; len++) {
			for (int way = 0; way < WAYS; way++) {
				go_on(bytes, whole, cut, len, way);
				ck_assert_int_eq(parse(bytes, len, &header), TP_MORE);
			}
		}
	}
}
END_TEST

START_TEST(the_bytes_it_asks_for_can_change_the_answer)
{
	const struct bytes *whole = &examples[_i];
	uint8_t bytes[512];
	for (size_t cut = 1; cut < whole->len; cut++) {
		struct tp_header header;
		bool changed = false;
		memcpy(bytes, whole->at, cut);
		ck_assert_int_eq(parse(bytes, cut, &header), TP_MORE);
		size_t need = header.length;
		for (int way = 0; way < WAYS && !changed; way++) {
			go_on(bytes, whole, cut, need, way);
			changed = parse(bytes, need, &header) != TP_MORE ||
				  (cut >= 12 && header.length != need);
		}
		ck_assert(changed);
	}
}
END_TEST

START_TEST(what_follows_changes_nothing)
{
	struct bytes bytes = examples[_i];
	struct tp_header alone, followed;
	uint8_t more[64];
	uint8_t *copy = malloc(bytes.len);
	memcpy(copy, bytes.at, bytes.len);
	ck_assert_int_eq(tp_header_parse(copy, bytes.len, NO_LIMIT, &alone), TP_DONE);
	for (size_t len = 1; len <= sizeof more; len++) {
		draw_bytes(more, sizeof more);
		size_t before = bytes.len;
		add(&bytes, len % 2 ? more : copy, len % 2 ? len : before / 2);
		ck_assert_int_eq(parse(bytes.at, bytes.len, &followed), TP_DONE);
		bytes.len = alone.length;
		ck_assert_uint_eq(followed.length, alone.length);
		assert_same_meaning(&alone, &followed);
		assert_same_tlvs(&alone, &followed);
	}
	free(copy);
}
END_TEST

START_TEST(a_header_that_is_written_means_the_same)
{
	const struct bytes *whole = &examples[_i];
	static uint8_t written[1024], again[1024];
	struct tp_header header, read;
	ck_assert_int_eq(tp_header_parse(whole->at, whole->len, NO_LIMIT, &header),
			 TP_DONE);
	size_t len = tp_header_write(&header, written, sizeof written);
	ck_assert_uint_gt(len, 0);
	ck_assert_int_eq(tp_header_parse(written, len, NO_LIMIT, &read), TP_DONE);
	ck_assert_uint_eq(read.length, len);
	assert_same_meaning(&header, &read);
	if (!header.crc32c) /* else the checksum has moved to the end */
		assert_same_tlvs(&header, &read);
	ck_assert_uint_eq(tp_header_write(&read, again, sizeof again), len);
	ck_assert_mem_eq(again, written, len);
}
END_TEST

START_TEST(a_header_is_written_whole_or_not_at_all)
{
	const struct bytes *whole = &examples[_i];
	static uint8_t written[1024];
	struct tp_header header;
	ck_assert_int_eq(tp_header_parse(whole->at, whole->len, NO_LIMIT, &header),
			 TP_DONE);
	size_t len = tp_header_write(&header, written, sizeof written);
	for (size_t size = 0; size < len; size++)
		ck_assert_uint_eq(tp_header_write(&header, flush_room(size), size), 0);
	ck_assert_uint_eq(tp_header_write(&header, flush_room(len), len), len);
	ck_assert_mem_eq(flush_room(len), written, len);
}
END_TEST

/* ---- the writer on its own ---- */

static struct tp_header random_header(uint8_t version)
{
	struct tp_header header = {.version = version,
				   .command = TP_PROXY,
				   .transport = TP_TRANSPORT_STREAM};
	header.family = draw_below(2) ? AF_INET : AF_INET6;
	struct tp_addr *addrs[] = {&header.src, &header.dst};
	for (size_t i = 0; i < COUNT(addrs); i++) {
		addrs[i]->family = header.family;
		addrs[i]->port = (uint16_t)draw();
		draw_bytes(addrs[i]->ip, tp_addr_size(header.family));
	}
	return header;
}

START_TEST(any_header_comes_back_as_it_was_written)
{
	for (int i = 0; i < 20000; i++) {
		struct tp_header header = random_header(i % 2 ? 1 : 2), read;
		struct bytes tlvs = {0};
		uint8_t written[512];
		if (header.version == 2)
			for (size_t n = draw_below(4); n; n--)
				add_tlv(&tlvs, (uint8_t)(0xe0 + n), "a value",
					draw_below(8));
		header.tlvs = tlvs.len ? tlvs.at : NULL;
		header.tlvs_length = tlvs.len;
		size_t len = tp_header_write(&header, written, sizeof written);
		ck_assert_int_eq(parse(written, len, &read), TP_DONE);
		ck_assert_uint_eq(read.length, len);
		assert_same_meaning(&header, &read);
		assert_same_tlvs(&header, &read);
	}
}
END_TEST

START_TEST(a_checksum_is_written_last_and_right)
{
	struct bytes bytes = checked_header();
	struct tp_header header, read;
	uint8_t written[256];
	ck_assert_int_eq(tp_header_parse(bytes.at, bytes.len, NO_LIMIT, &header),
			 TP_DONE);
	ck_assert_uint_eq(tp_header_write(&header, written, sizeof written), bytes.len);
	ck_assert_int_eq(parse(written, bytes.len, &read), TP_DONE);
	ck_assert(read.crc32c);
	ck_assert_mem_eq(written + bytes.len - 7, "\x03\x00\x04", 3);
}
END_TEST

START_TEST(families_that_differ_are_not_written)
{
	uint8_t written[256];
	struct tp_header header = random_header(1);
	header.family = header.src.family = AF_INET;
	header.dst.family = AF_INET6;
	ck_assert_uint_eq(tp_header_write(&header, written, sizeof written), 0);
}
END_TEST

START_TEST(only_a_stream_client_is_named)
{
	struct tp_header header = random_header(2);
	ck_assert(tp_header_names_client(&header));
	header.transport = TP_TRANSPORT_DGRAM;
	ck_assert(!tp_header_names_client(&header));
	header.transport = TP_TRANSPORT_STREAM;
	header.command = TP_LOCAL;
	ck_assert(!tp_header_names_client(&header));
	header.command = TP_UNKNOWN;
	ck_assert(!tp_header_names_client(&header));
}
END_TEST

static void add_v1_tests(TCase *tcase)
{
	tcase_add_table(tcase, v1_right_lines_say_their_addresses, v1_right);
	tcase_add_table(tcase, v1_is_written_canonically, v1_right);
	tcase_add_table(tcase, v1_wrong_lines_are_bad, v1_wrong);
	tcase_add_test(tcase, v1_bad_lines_tell_the_place);
	tcase_add_table(tcase,
			v1_destination_of_the_other_family_is_taken_where_it_is_asked_for,
			mixed);
	tcase_add_test(tcase, v1_takes_107_bytes_and_not_one_more);
	tcase_add_test(tcase, v1_lines_end_at_cr_lf_only);
}

static void add_v2_tests(TCase *tcase)
{
	tcase_add_table(tcase, v2_says_the_same_as_v1, v1_right);
	tcase_add_table(tcase, v1_and_v2_are_written_from_one_another, v1_right);
	tcase_add_loop_test(tcase, v2_announces_one_byte_more_or_less, 1,
			    COUNT(families));
	tcase_add_test(tcase, v2_takes_the_commands_and_families_there_are);
	tcase_add_test(tcase, v2_refuses_what_it_sees_in_the_first_16_bytes);
	tcase_add_test(tcase, v2_local_and_unspec_are_skipped_unread);
	tcase_add_test(tcase, v2_keeps_to_the_limit);
	tcase_add_test(tcase, v2_can_be_65551_bytes_long);
	tcase_add_test(tcase, the_first_wrong_byte_decides);
	tcase_add_test(tcase, nothing_says_more);
}

static void add_tlv_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_right_checksum_is_told);
	tcase_add_test(tcase, no_checksum_survives_a_changed_bit);
	tcase_add_test(tcase, a_wrong_checksum_is_bad);
	tcase_add_test(tcase, a_second_checksum_is_bad);
	tcase_add_test(tcase, a_checksum_has_four_bytes);
	tcase_add_test(tcase, a_unique_id_has_128_bytes_at_the_most);
	tcase_add_test(tcase, a_tlv_that_runs_past_the_end_is_bad);
	tcase_add_test(tcase, tlvs_are_read_one_after_the_other);
	tcase_add_test(tcase, crc32c_gives_the_known_answers);
	tcase_add_test(tcase, crc32c_is_the_same_in_pieces);
}

static void add_laws(TCase *tcase)
{
	tcase_add_checked_fixture(tcase, make_examples, NULL);
	tcase_add_table(tcase, every_proper_prefix_says_more, examples);
	tcase_add_table(tcase, fewer_bytes_than_it_asks_for_change_nothing, examples);
	tcase_add_table(tcase, the_bytes_it_asks_for_can_change_the_answer, examples);
	tcase_add_table(tcase, what_follows_changes_nothing, examples);
	tcase_add_table(tcase, a_header_that_is_written_means_the_same, examples);
	tcase_add_table(tcase, a_header_is_written_whole_or_not_at_all, examples);
	tcase_add_test(tcase, any_header_comes_back_as_it_was_written);
	tcase_add_test(tcase, a_checksum_is_written_last_and_right);
	tcase_add_test(tcase, families_that_differ_are_not_written);
	tcase_add_test(tcase, only_a_stream_client_is_named);
}

int main(void)
{
	TCase *tcase = tcase_create("header");
	add_v1_tests(tcase);
	add_v2_tests(tcase);
	add_tlv_tests(tcase);
	add_laws(tcase);
	return run_tests("header", tcase);
}
