/* SPDX-License-Identifier: MIT */
#include "peer_record.h"

#include "unit.h"

#define TAG_SIZE 8
#define STRAY_KEYS 1000000

static const struct tp_peer peers[] = {
	{.client.family = AF_UNSPEC},
	{.client.family = AF_UNSPEC, .report = TP_PEER_IPV6},
	{.client = {AF_INET, 56324, {203, 0, 113, 7}}},
	{.client = {AF_INET, 0, {0}}},
	{.client = {AF_INET, 65535, {255, 255, 255, 255}}, .report = TP_PEER_IPV6},
	{.client = {AF_INET, 56324, {203, 0, 113, 7}},
	 .destination = {AF_INET, 443, {192, 0, 2, 1}}},
	{.client = {AF_INET, 1, {1, 2, 3, 4}},
	 .destination = {AF_INET, 0, {192, 0, 2, 1}}},
	{.client = {AF_INET, 1, {1, 2, 3, 4}}, .destination = {AF_INET, 443, {0}}},
	{.client = {AF_INET6,
		    56324,
		    {0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}}},
	{.client = {AF_INET6, 1, {[15] = 1}}, .report = TP_PEER_IPV6},
	{.client = {AF_INET6, 1, {[15] = 1}},
	 .report = TP_PEER_IPV6,
	 .tells_destination = true},
	{.client = {AF_INET, 1, {1, 2, 3, 4}},
	 .destination = {AF_INET, 443, {192, 0, 2, 1}},
	 .tells_destination = true},
};

static void assert_same_addr(const struct tp_addr *a, const struct tp_addr *b)
{
	ck_assert_int_eq(a->family, b->family);
	ck_assert_uint_eq(a->port, b->port);
	ck_assert_mem_eq(a->ip, b->ip, sizeof a->ip);
}

static bool unpacks(const struct tp_peer_record *record, size_t size)
{
	struct tp_peer peer;
	return tp_peer_record_unpack(record, size, &peer);
}

START_TEST(a_peer_comes_back_as_it_was_packed)
{
	struct tp_peer_record record = tp_peer_record_pack(&peers[_i]);
	struct tp_peer peer;
	memset(&peer, 0xff, sizeof peer);
	ck_assert(tp_peer_record_unpack(&record, TP_PEER_RECORD_SIZE, &peer));
	assert_same_addr(&peer.client, &peers[_i].client);
	assert_same_addr(&peer.destination, &peers[_i].destination);
	ck_assert_int_eq(peer.report, peers[_i].report);
	ck_assert_int_eq(peer.tells_destination, peers[_i].tells_destination);
}
END_TEST

START_TEST(the_short_record_keeps_all_but_the_destination)
{
	struct tp_peer_record record = tp_peer_record_pack(&peers[_i]), cut = {{0}};
	const struct tp_addr none = {0};
	struct tp_peer peer;
	memset(cut.bytes, 0xff, sizeof cut.bytes);
	memcpy(cut.bytes, record.bytes, TP_PEER_RECORD_SHORT);
	bool fits = peers[_i].client.family != AF_INET6;
	ck_assert(tp_peer_record_is_short(&record) == fits);
	ck_assert(tp_peer_record_unpack(&cut, TP_PEER_RECORD_SHORT, &peer) == fits);
	if (!fits)
		return;
	assert_same_addr(&peer.client, &peers[_i].client);
	assert_same_addr(&peer.destination, &none);
	ck_assert_int_eq(peer.report, peers[_i].report);
	ck_assert_int_eq(peer.tells_destination, peers[_i].tells_destination);
}
END_TEST

START_TEST(no_other_size_is_a_record)
{
	struct tp_peer_record record = tp_peer_record_pack(&peers[_i]);
	for (size_t size = 0; size <= TP_PEER_RECORD_SIZE + 1; size++)
		if (size != TP_PEER_RECORD_SHORT && size != TP_PEER_RECORD_SIZE)
			ck_assert(!unpacks(&record, size));
}
END_TEST

START_TEST(no_changed_bit_in_the_tag_is_a_record)
{
	struct tp_peer_record record = tp_peer_record_pack(&peers[_i]);
	for (size_t bit = 0; bit < 8 * TAG_SIZE; bit++) {
		uint8_t mask = (uint8_t)(1u << bit % 8);
		record.bytes[bit / 8] ^= mask;
		ck_assert(!unpacks(&record, TP_PEER_RECORD_SIZE));
		ck_assert(!unpacks(&record, TP_PEER_RECORD_SHORT));
		record.bytes[bit / 8] ^= mask;
	}
	ck_assert(unpacks(&record, TP_PEER_RECORD_SIZE));
}
END_TEST

START_TEST(no_other_layout_version_is_a_record)
{
	struct tp_peer_record record = tp_peer_record_pack(&peers[_i]);
	for (int version = 0; version < 256; version++) {
		record.bytes[TAG_SIZE - 1] = (uint8_t)version;
		ck_assert(unpacks(&record, TP_PEER_RECORD_SIZE) == (version == 1));
	}
}
END_TEST

START_TEST(a_record_of_any_layout_version_is_known_by_its_tag)
{
	struct tp_peer_record record = tp_peer_record_pack(&peers[_i]);
	for (int version = 0; version < 256; version++) {
		record.bytes[TAG_SIZE - 1] = (uint8_t)version;
		ck_assert(tp_peer_record_is_tagged(&record, TP_PEER_RECORD_SIZE));
		ck_assert(tp_peer_record_is_tagged(&record, TP_PEER_RECORD_SHORT));
		ck_assert(!tp_peer_record_is_tagged(&record, 0));
	}
	for (size_t bit = 0; bit < 8 * (TAG_SIZE - 1); bit++) {
		uint8_t mask = (uint8_t)(1u << bit % 8);
		record.bytes[bit / 8] ^= mask;
		ck_assert(!tp_peer_record_is_tagged(&record, TP_PEER_RECORD_SIZE));
		record.bytes[bit / 8] ^= mask;
	}
}
END_TEST

START_TEST(no_other_family_or_report_is_a_record)
{
	struct tp_peer_record record = tp_peer_record_pack(&peers[0]);
	for (int family = 0; family < 256; family++) {
		for (int report = 0; report < 256; report++) {
			record.bytes[8] = (uint8_t)family;
			record.bytes[9] = (uint8_t)report;
			bool right = (family == 0 || family == 4 || family == 6) &&
				     (report & 0x7f) <= 1;
			ck_assert(unpacks(&record, TP_PEER_RECORD_SIZE) == right);
		}
	}
}
END_TEST

START_TEST(no_stray_key_is_a_record)
{
	for (int i = 0; i < STRAY_KEYS; i++) {
		struct tp_peer_record record;
		draw_bytes(record.bytes, sizeof record.bytes);
		ck_assert(!unpacks(&record, TP_PEER_RECORD_SIZE));
		ck_assert(!unpacks(&record, TP_PEER_RECORD_SHORT));
	}
}
END_TEST

START_TEST(no_plain_key_is_a_record)
{
	for (int byte = 0; byte < 256; byte++) {
		struct tp_peer_record record;
		memset(record.bytes, byte, sizeof record.bytes);
		ck_assert(!unpacks(&record, TP_PEER_RECORD_SIZE));
		ck_assert(!unpacks(&record, TP_PEER_RECORD_SHORT));
	}
}
END_TEST

START_TEST(the_layout_is_the_one_that_is_written_down)
{
	/* Another copy of the library, of another build, reads it. */
	static const uint8_t expected[TP_PEER_RECORD_SIZE] = {
		0xd3, 0x7e, 0x91, 0x5a, 0xc4, 0x2b, 0xe8, 0x01, 4, 0,		0xdc,
		0x04, 203,  0,	  113,	7,    192,  0,	  2,	1, [28] = 0x01, 0xbb,
	};
	struct tp_peer_record record = tp_peer_record_pack(&peers[5]);
	ck_assert_mem_eq(record.bytes, expected, sizeof expected);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("peer_record");
	tcase_add_table(tcase, a_peer_comes_back_as_it_was_packed, peers);
	tcase_add_table(tcase, the_short_record_keeps_all_but_the_destination, peers);
	tcase_add_table(tcase, no_other_size_is_a_record, peers);
	tcase_add_table(tcase, no_changed_bit_in_the_tag_is_a_record, peers);
	tcase_add_table(tcase, no_other_layout_version_is_a_record, peers);
	tcase_add_table(tcase, a_record_of_any_layout_version_is_known_by_its_tag, peers);
	tcase_add_test(tcase, no_other_family_or_report_is_a_record);
	tcase_add_test(tcase, no_stray_key_is_a_record);
	tcase_add_test(tcase, no_plain_key_is_a_record);
	tcase_add_test(tcase, the_layout_is_the_one_that_is_written_down);
	return run_tests("peer_record", tcase);
}
