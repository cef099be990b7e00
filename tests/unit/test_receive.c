/* SPDX-License-Identifier: MIT */
#include "receive.h"

#include <errno.h>
#include <fcntl.h>

#include "sockets.h"

#define V1 "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"
#define V2                                                                               \
	"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xc0\0\x02\x01\xdc\x04\x01\xbb"
#define LOCAL "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
#define PAYLOAD "\0PROXY \r\n\r\nEHLO \xff"
#define PAYLOAD_SIZE (sizeof PAYLOAD - 1)

static const struct {
	const char *bytes;
	size_t len;
	uint8_t version;
} headers[] = {
	{V1, sizeof V1 - 1, 1},
	{"PROXY UNKNOWN\r\n", 15, 1},
	{V2, sizeof V2 - 1, 2},
	{LOCAL, sizeof LOCAL - 1, 2},
};

static struct pair pair;

static void set_up(void)
{
	pair = connected(AF_INET);
}

static void tear_down(void)
{
	hang_up(pair);
}

static enum tp_received receive(struct tp_reception *reception)
{
	memset(reception, 0xff, sizeof *reception);
	return tp_receive(pair.server, LIMITS(TP_HEADER_V2_MAX), reception);
}

static void assert_remains(const void *bytes, size_t len)
{
	uint8_t *buf = malloc(len + 1);
	await_bytes(pair.server, len);
	ck_assert_int_eq(recv(pair.server, buf, len + 1, MSG_DONTWAIT), (ssize_t)len);
	ck_assert_mem_eq(buf, bytes, len);
	free(buf);
}

static void assert_nothing_remains(void)
{
	uint8_t byte;
	ck_assert_int_eq(recv(pair.server, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
}

static void assert_names_the_client(const struct tp_header *header)
{
	static const uint8_t ip[] = {203, 0, 113, 7};
	ck_assert(tp_header_names_client(header));
	ck_assert_int_eq(header->src.family, AF_INET);
	ck_assert_uint_eq(header->src.port, 56324);
	ck_assert_mem_eq(header->src.ip, ip, sizeof ip);
}

/* A v2 header of that length, its TLVs unlike one another. */
static uint8_t *long_header(size_t len)
{
	uint8_t *header = malloc(len);
	const size_t body = len - 16, value = len - 28 - 3;
	draw_bytes(header, len);
	memcpy(header, V2, 28);
	header[14] = (uint8_t)(body >> 8);
	header[15] = (uint8_t)body;
	header[28] = 0xe0;
	header[29] = (uint8_t)(value >> 8);
	header[30] = (uint8_t)value;
	return header;
}

/* ---- a header that is there ---- */

START_TEST(a_header_is_taken_and_the_payload_left)
{
	struct tp_reception reception;
	send_all(pair.client, headers[_i].bytes, headers[_i].len);
	send_all(pair.client, PAYLOAD, PAYLOAD_SIZE);
	await_bytes(pair.server, headers[_i].len + PAYLOAD_SIZE);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
	ck_assert_uint_eq(reception.header.version, headers[_i].version);
	ck_assert_uint_eq(reception.header.length, headers[_i].len);
	assert_remains(PAYLOAD, PAYLOAD_SIZE);
}
END_TEST

START_TEST(a_header_alone_leaves_nothing)
{
	struct tp_reception reception;
	send_all(pair.client, headers[_i].bytes, headers[_i].len);
	await_bytes(pair.server, headers[_i].len);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
	assert_nothing_remains();
}
END_TEST

START_TEST(a_header_says_who)
{
	struct tp_reception reception;
	send_all(pair.client, V2, sizeof V2 - 1);
	await_bytes(pair.server, sizeof V2 - 1);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
	assert_names_the_client(&reception.header);
	ck_assert_ptr_null(reception.header.tlvs);
	ck_assert_ptr_null(reception.header.unix_paths);
}
END_TEST

START_TEST(a_second_header_is_payload)
{
	struct tp_reception reception;
	send_all(pair.client, V1 LOCAL, sizeof V1 - 1 + sizeof LOCAL - 1);
	await_bytes(pair.server, sizeof V1 - 1 + sizeof LOCAL - 1);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
	ck_assert_uint_eq(reception.header.version, 1);
	assert_remains(LOCAL, sizeof LOCAL - 1);
}
END_TEST

START_TEST(a_blocking_socket_is_not_waited_for)
{
	struct tp_reception reception;
	ck_assert_int_eq(fcntl(pair.server, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_MORE);
	ck_assert_uint_eq(reception.seen, 0);
	ck_assert_uint_eq(reception.need, 1);
	ck_assert_int_eq(fcntl(pair.server, F_GETFL) & O_NONBLOCK, 0);
}
END_TEST

START_TEST(a_closed_sender_does_not_spoil_its_header)
{
	struct tp_reception reception;
	send_all(pair.client, V1 "x", sizeof V1);
	shutdown(pair.client, SHUT_WR);
	await_event(pair.server, POLLRDHUP);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
	assert_names_the_client(&reception.header);
	uint8_t buf[2];
	ck_assert_int_eq(recv(pair.server, buf, sizeof buf, 0), 1);
	ck_assert_int_eq(recv(pair.server, buf, sizeof buf, 0), 0);
}
END_TEST

START_TEST(a_unix_socket_serves_as_well)
{
	int ends[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	hang_up(pair);
	pair = (struct pair){ends[0], ends[1]};
	struct tp_reception reception;
	send_all(pair.client, V1 PAYLOAD, sizeof V1 - 1 + PAYLOAD_SIZE);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
	assert_names_the_client(&reception.header);
	assert_remains(PAYLOAD, PAYLOAD_SIZE);
}
END_TEST

/* ---- a header in pieces ---- */

START_TEST(a_header_may_be_split_at_each_byte)
{
	struct tp_reception reception;
	const char *bytes = headers[_i].bytes;
	for (size_t sent = 1; sent < headers[_i].len; sent++) {
		send_all(pair.client, bytes + sent - 1, 1);
		await_bytes(pair.server, sent);
		ck_assert_int_eq(receive(&reception), TP_RECEIVED_MORE);
		ck_assert_uint_eq(reception.seen, sent);
		ck_assert_uint_gt(reception.need, sent);
		ck_assert_uint_le(reception.need, headers[_i].len);
		ck_assert_uint_eq(waiting_bytes(pair.server), sent);
	}
	send_all(pair.client, bytes + headers[_i].len - 1, 1);
	send_all(pair.client, PAYLOAD, PAYLOAD_SIZE);
	await_bytes(pair.server, headers[_i].len + PAYLOAD_SIZE);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
	assert_remains(PAYLOAD, PAYLOAD_SIZE);
}
END_TEST

START_TEST(a_split_in_two_is_as_good_as_none)
{
	for (size_t cut = 1; cut < headers[_i].len; cut++) {
		struct tp_reception reception;
		send_all(pair.client, headers[_i].bytes, cut);
		await_bytes(pair.server, cut);
		ck_assert_int_eq(receive(&reception), TP_RECEIVED_MORE);
		send_all(pair.client, headers[_i].bytes + cut, headers[_i].len - cut);
		await_bytes(pair.server, headers[_i].len);
		ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
		assert_nothing_remains();
	}
}
END_TEST

/* ---- long headers ---- */

/* Around the buffer on the stack, and the longest there is. */
static const size_t lengths[] = {100, 2047, 2048, 2049, 3000, 4096, 20000, 65535, 65551};

static void make_room(void)
{
	const int size = 200000;
	union loopback name;
	int listener = listen_on_loopback(AF_INET, &name);
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	hang_up(pair);
	pair = connect_to(listener, &name);
	close(listener);
	setsockopt(pair.client, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

START_TEST(a_long_header_is_taken_and_the_payload_left)
{
	size_t len = lengths[_i];
	struct tp_reception reception;
	uint8_t *header = long_header(len);
	make_room();
	send_all(pair.client, header, len);
	send_all(pair.client, PAYLOAD, PAYLOAD_SIZE);
	await_bytes(pair.server, len + PAYLOAD_SIZE);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
	ck_assert_uint_eq(reception.header.length, len);
	/* As many of its TLVs as the usual header has room for. */
	ck_assert_ptr_eq(reception.header.tlvs, reception.bytes + 28);
	ck_assert_uint_eq(reception.header.tlvs_length,
			  (len < TP_USUAL_HEADER ? len : TP_USUAL_HEADER) - 28);
	ck_assert_mem_eq(reception.header.tlvs, header + 28,
			 reception.header.tlvs_length);
	assert_names_the_client(&reception.header);
	assert_remains(PAYLOAD, PAYLOAD_SIZE);
	free(header);
}
END_TEST

START_TEST(a_long_header_may_be_split)
{
	size_t len = lengths[_i];
	const size_t cuts[] = {16, 27, 28, 99, 2047, 2048, 2049, len - 1};
	uint8_t *header = long_header(len);
	make_room();
	for (size_t i = 0; i < COUNT(cuts); i++) {
		struct tp_reception reception;
		if (cuts[i] >= len)
			continue;
		send_all(pair.client, header, cuts[i]);
		await_bytes(pair.server, cuts[i]);
		ck_assert_int_eq(receive(&reception), TP_RECEIVED_MORE);
		ck_assert_uint_eq(reception.seen, cuts[i]);
		ck_assert_uint_eq(reception.need, len);
		send_all(pair.client, header + cuts[i], len - cuts[i]);
		await_bytes(pair.server, len);
		ck_assert_int_eq(receive(&reception), TP_RECEIVED_HEADER);
		assert_nothing_remains();
	}
	free(header);
}
END_TEST

START_TEST(a_header_beyond_the_limit_is_bad_at_once)
{
	struct tp_reception reception;
	uint8_t *header = long_header(5000);
	send_all(pair.client, header, 16);
	await_bytes(pair.server, 16);
	ck_assert_int_eq(tp_receive(pair.server, LIMITS(4999), &reception),
			 TP_RECEIVED_BAD);
	ck_assert_int_eq(tp_receive(pair.server, LIMITS(5000), &reception),
			 TP_RECEIVED_MORE);
	free(header);
}
END_TEST

START_TEST(a_long_header_that_is_wrong_at_its_end_is_bad)
{
	struct tp_reception reception;
	uint8_t *header = long_header(3000);
	header[30]++; /* the TLV is one byte longer than the header */
	send_all(pair.client, header, 3000);
	await_bytes(pair.server, 3000);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_BAD);
	ck_assert_uint_eq(waiting_bytes(pair.server), 3000);
	free(header);
}
END_TEST

/* ---- no header, or a bad one ---- */

static const struct {
	const char *bytes;
	enum tp_received received;
} others[] = {
	{"GET / HTTP/1.1\r\n", TP_RECEIVED_NONE},
	{"X", TP_RECEIVED_NONE},
	{"PX", TP_RECEIVED_NONE},
	{"\r\n\r\nQUIT", TP_RECEIVED_NONE},
	{"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\nfollowed by much more than a line in the log shows",
	 TP_RECEIVED_BAD},
	{"PROXY \r\n", TP_RECEIVED_BAD},
};

START_TEST(what_is_not_a_header_is_left_alone)
{
	size_t len = strlen(others[_i].bytes);
	struct tp_reception reception;
	send_all(pair.client, others[_i].bytes, len);
	await_bytes(pair.server, len);
	ck_assert_int_eq(receive(&reception), others[_i].received);
	ck_assert_uint_eq(reception.seen, len);
	ck_assert_mem_eq(reception.bytes, others[_i].bytes, len);
	if (others[_i].received == TP_RECEIVED_BAD)
		ck_assert_uint_gt(strlen(reception.reason), 0);
	assert_remains(others[_i].bytes, len);
}
END_TEST

START_TEST(a_closed_sender_is_the_end)
{
	struct tp_reception reception;
	shutdown(pair.client, SHUT_WR);
	await_event(pair.server, POLLRDHUP);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_END);
	ck_assert_uint_eq(reception.seen, 0);
}
END_TEST

START_TEST(a_reset_is_the_end)
{
	struct tp_reception reception;
	reset(pair.client);
	await_event(pair.server, POLLERR);
	ck_assert_int_eq(receive(&reception), TP_RECEIVED_END);
	pair.client = -1;
}
END_TEST

/* The bytes that came before the end can still be seen; that no more will come, poll
 * tells. */
START_TEST(what_was_cut_off_is_not_a_header)
{
	struct tp_reception reception;
	send_all(pair.client, V1, 20);
	await_bytes(pair.server, 20);
	if (_i)
		reset(pair.client);
	else
		close(pair.client);
	pair.client = -1;
	await_event(pair.server, POLLRDHUP);
	enum tp_received received = receive(&reception);
	ck_assert(received == TP_RECEIVED_MORE || received == TP_RECEIVED_END);
}
END_TEST

START_TEST(what_the_kernel_refuses_is_told)
{
	struct tp_reception reception;
	int unconnected = socket(AF_INET, SOCK_STREAM, 0),
	    file = open("/dev/null", O_RDONLY);
	ck_assert_int_eq(tp_receive(-1, LIMITS(4096), &reception), TP_RECEIVED_FAILED);
	ck_assert_int_eq(errno, EBADF);
	ck_assert_int_eq(tp_receive(file, LIMITS(4096), &reception), TP_RECEIVED_FAILED);
	ck_assert_int_eq(errno, ENOTSOCK);
	ck_assert_int_eq(tp_receive(unconnected, LIMITS(4096), &reception),
			 TP_RECEIVED_FAILED);
	ck_assert_int_eq(errno, ENOTCONN);
	close(unconnected);
	close(file);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("receive");
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_table(tcase, a_header_is_taken_and_the_payload_left, headers);
	tcase_add_table(tcase, a_header_alone_leaves_nothing, headers);
	tcase_add_test(tcase, a_header_says_who);
	tcase_add_test(tcase, a_second_header_is_payload);
	tcase_add_test(tcase, a_blocking_socket_is_not_waited_for);
	tcase_add_test(tcase, a_closed_sender_does_not_spoil_its_header);
	tcase_add_test(tcase, a_unix_socket_serves_as_well);
	tcase_add_table(tcase, a_header_may_be_split_at_each_byte, headers);
	tcase_add_table(tcase, a_split_in_two_is_as_good_as_none, headers);
	tcase_add_table(tcase, a_long_header_is_taken_and_the_payload_left, lengths);
	tcase_add_table(tcase, a_long_header_may_be_split, lengths);
	tcase_add_test(tcase, a_header_beyond_the_limit_is_bad_at_once);
	tcase_add_test(tcase, a_long_header_that_is_wrong_at_its_end_is_bad);
	tcase_add_table(tcase, what_is_not_a_header_is_left_alone, others);
	tcase_add_test(tcase, a_closed_sender_is_the_end);
	tcase_add_test(tcase, a_reset_is_the_end);
	tcase_add_loop_test(tcase, what_was_cut_off_is_not_a_header, 0, 2);
	tcase_add_test(tcase, what_the_kernel_refuses_is_told);
	return run_tests("receive", tcase);
}
