/* SPDX-License-Identifier: MIT */
#include "await.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#include "sockets.h"

#define V1 "PROXY TCP4 203.0.113.7 192.0.2.1 56324 443\r\n"
#define V1_SIZE (sizeof V1 - 1)
#define LONG 10000 /* ms: a timeout that no test comes near */
#define SHORT 200  /* ms: one that runs out */
#define SLACK 2000 /* ms: what a busy machine may be late by */
#define NO_CPU 60  /* ms: what may be used up while nothing happens */

static struct pair pair;

static void set_up(void)
{
	pair = connected(AF_INET);
}

static void tear_down(void)
{
	hang_up(pair);
}

static int64_t now_ms(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int low_water(void)
{
	int value = -1;
	socklen_t size = sizeof value;
	getsockopt(pair.server, SOL_SOCKET, SO_RCVLOWAT, &value, &size);
	return value;
}

/* What a wait came to, and what it cost. */
struct stay {
	enum tp_received received;
	struct tp_reception reception;
	int64_t ms, cpu_ms;
};

static struct stay stay(uint32_t timeout_ms)
{
	struct stay stay;
	stay.received =
		tp_receive(pair.server, LIMITS(TP_HEADER_V2_MAX), &stay.reception);
	ck_assert_int_eq(stay.received, TP_RECEIVED_MORE);
	stay.ms = -now_ms(CLOCK_MONOTONIC);
	stay.cpu_ms = -now_ms(CLOCK_THREAD_CPUTIME_ID);
	stay.received = tp_await(pair.server, LIMITS(TP_HEADER_V2_MAX), timeout_ms,
				 &stay.reception);
	stay.ms += now_ms(CLOCK_MONOTONIC);
	stay.cpu_ms += now_ms(CLOCK_THREAD_CPUTIME_ID);
	return stay;
}

/* ---- what the other end does meanwhile, one byte or step after the other ---- */

struct sender {
	pthread_t thread;
	const char *bytes;
	size_t len, piece;
	int pause_ms;
	void (*at_the_end)(void);
};

static void *send_in_pieces(void *argument)
{
	const struct sender *sender = argument;
	size_t piece = sender->piece;
	for (size_t at = 0; at < sender->len; at += piece) {
		size_t left = sender->len - at;
		poll(NULL, 0, sender->pause_ms);
		if (send(pair.client, sender->bytes + at, piece < left ? piece : left,
			 MSG_NOSIGNAL) < 0)
			return NULL;
	}
	poll(NULL, 0, sender->pause_ms);
	if (sender->at_the_end)
		sender->at_the_end();
	return NULL;
}

static void start(struct sender *sender)
{
	ck_assert_int_eq(pthread_create(&sender->thread, NULL, send_in_pieces, sender),
			 0);
}

static void close_client(void)
{
	close(pair.client);
	pair.client = -1;
}

static void shut_client(void)
{
	shutdown(pair.client, SHUT_WR);
}

static void reset_client(void)
{
	reset(pair.client);
	pair.client = -1;
}

static void (*const ways_to_leave[])(void) = {close_client, shut_client, reset_client};

/* ---- headers that come late ---- */

START_TEST(a_late_header_is_received)
{
	struct sender sender = {.bytes = V1 "payload",
				.len = V1_SIZE + 7,
				.piece = V1_SIZE + 7,
				.pause_ms = 50};
	char payload[16];
	start(&sender);
	struct stay late = stay(LONG);
	pthread_join(sender.thread, NULL);
	ck_assert_int_eq(late.received, TP_RECEIVED_HEADER);
	ck_assert(tp_header_names_client(&late.reception.header));
	ck_assert_int_lt(late.ms, LONG / 2);
	await_bytes(pair.server, 7);
	ck_assert_int_eq(recv(pair.server, payload, sizeof payload, MSG_DONTWAIT), 7);
}
END_TEST

START_TEST(a_header_in_pieces_is_received)
{
	const size_t pieces[] = {1, 2, 7, V1_SIZE - 1};
	struct sender sender = {
		.bytes = V1, .len = V1_SIZE, .piece = pieces[_i], .pause_ms = 5};
	start(&sender);
	struct stay late = stay(LONG);
	pthread_join(sender.thread, NULL);
	ck_assert_int_eq(late.received, TP_RECEIVED_HEADER);
	ck_assert_uint_eq(late.reception.header.length, V1_SIZE);
	ck_assert_uint_eq(waiting_bytes(pair.server), 0);
}
END_TEST

START_TEST(a_header_that_was_there_before_is_received)
{
	struct tp_reception reception;
	ck_assert_int_eq(tp_receive(pair.server, LIMITS(4096), &reception),
			 TP_RECEIVED_MORE);
	send_all(pair.client, V1, V1_SIZE);
	await_bytes(pair.server, V1_SIZE);
	ck_assert_int_eq(tp_await(pair.server, LIMITS(4096), LONG, &reception),
			 TP_RECEIVED_HEADER);
}
END_TEST

START_TEST(what_turns_out_to_be_none_is_told_at_once)
{
	struct sender none = {.bytes = "GET /", .len = 5, .piece = 5, .pause_ms = 30};
	start(&none);
	struct stay late = stay(LONG);
	pthread_join(none.thread, NULL);
	ck_assert_int_eq(late.received, TP_RECEIVED_NONE);
	ck_assert_int_lt(late.ms, LONG / 2);
	ck_assert_uint_eq(waiting_bytes(pair.server), 5);
}
END_TEST

START_TEST(what_turns_out_to_be_bad_is_told_at_once)
{
	struct sender bad = {
		.bytes = "PROXY TCP5\r\n", .len = 12, .piece = 6, .pause_ms = 30};
	start(&bad);
	struct stay late = stay(LONG);
	pthread_join(bad.thread, NULL);
	ck_assert_int_eq(late.received, TP_RECEIVED_BAD);
	ck_assert_int_lt(late.ms, LONG / 2);
	ck_assert_uint_gt(strlen(late.reception.reason), 0);
}
END_TEST

/* ---- the deadline ---- */

static void assert_in_time(const struct stay *stay, int64_t timeout_ms)
{
	ck_assert_int_eq(stay->received, TP_RECEIVED_MORE);
	ck_assert_int_ge(stay->ms, timeout_ms - 1);
	ck_assert_int_lt(stay->ms, timeout_ms + SLACK);
}

START_TEST(silence_ends_at_the_deadline)
{
	struct stay silent = stay(SHORT);
	assert_in_time(&silent, SHORT);
	ck_assert_uint_eq(silent.reception.seen, 0);
}
END_TEST

START_TEST(a_part_of_a_header_ends_at_the_deadline)
{
	send_all(pair.client, V1, (size_t)_i);
	await_bytes(pair.server, (size_t)_i);
	struct stay part = stay(SHORT);
	assert_in_time(&part, SHORT);
	ck_assert_uint_eq(part.reception.seen, (size_t)_i);
	ck_assert_uint_eq(waiting_bytes(pair.server), (size_t)_i);
}
END_TEST

START_TEST(dripping_does_not_put_the_deadline_off)
{
	struct sender sender = {.bytes = V1, .len = V1_SIZE, .piece = 1, .pause_ms = 30};
	start(&sender);
	struct stay dripped = stay(2 * SHORT);
	assert_in_time(&dripped, 2 * SHORT);
	pthread_join(sender.thread, NULL);
	ck_assert_uint_gt(dripped.reception.seen, 0);
}
END_TEST

static void on_alarm(int number)
{
	(void)number;
}

START_TEST(signals_neither_end_nor_prolong_the_wait)
{
	const struct sigaction action = {.sa_handler = on_alarm};
	const struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	struct stay disturbed = stay(SHORT);
	setitimer(ITIMER_REAL, &never, NULL);
	assert_in_time(&disturbed, SHORT);
}
END_TEST

/* ---- senders that leave ---- */

START_TEST(a_sender_that_leaves_within_a_header_is_the_end)
{
	struct sender sender = {.bytes = V1,
				.len = 20,
				.piece = 20,
				.pause_ms = 30,
				.at_the_end = ways_to_leave[_i]};
	start(&sender);
	struct stay cut = stay(LONG);
	pthread_join(sender.thread, NULL);
	ck_assert_int_eq(cut.received, TP_RECEIVED_END);
	ck_assert_int_lt(cut.ms, LONG / 2);
}
END_TEST

START_TEST(a_sender_that_leaves_without_a_word_is_the_end)
{
	struct sender sender = {.pause_ms = 30, .at_the_end = ways_to_leave[_i]};
	start(&sender);
	struct stay silent = stay(LONG);
	pthread_join(sender.thread, NULL);
	ck_assert_int_eq(silent.received, TP_RECEIVED_END);
	ck_assert_int_lt(silent.ms, LONG / 2);
}
END_TEST

START_TEST(a_sender_that_has_left_is_the_end)
{
	send_all(pair.client, V1, 20);
	await_bytes(pair.server, 20);
	ways_to_leave[_i]();
	await_event(pair.server, POLLRDHUP);
	struct stay cut = stay(LONG);
	ck_assert_int_eq(cut.received, TP_RECEIVED_END);
	ck_assert_int_lt(cut.ms, LONG / 2);
}
END_TEST

START_TEST(a_sender_that_leaves_after_its_header_has_sent_it)
{
	struct sender sender = {.bytes = V1,
				.len = V1_SIZE,
				.piece = 20,
				.pause_ms = 20,
				.at_the_end = close_client};
	start(&sender);
	struct stay whole = stay(LONG);
	pthread_join(sender.thread, NULL);
	ck_assert_int_eq(whole.received, TP_RECEIVED_HEADER);
}
END_TEST

/* ---- guests leave the await as they found it ---- */

START_TEST(the_low_water_mark_is_put_back)
{
	const int marks[] = {1, 7};
	for (size_t i = 0; i < COUNT(marks); i++) {
		ck_assert_int_eq(setsockopt(pair.server, SOL_SOCKET, SO_RCVLOWAT,
					    &marks[i], sizeof marks[i]),
				 0);
		send_all(pair.client, V1, 20);
		await_bytes(pair.server, 20);
		stay(30); /* in vain */
		ck_assert_int_eq(low_water(), marks[i]);
		struct sender sender = {
			.bytes = &V1[20], .len = V1_SIZE - 20, .piece = 5, .pause_ms = 5};
		start(&sender);
		ck_assert_int_eq(stay(LONG).received, TP_RECEIVED_HEADER);
		pthread_join(sender.thread, NULL);
		ck_assert_int_eq(low_water(), marks[i]);
	}
}
END_TEST

START_TEST(the_processor_rests_while_a_part_lies_there)
{
	struct rusage before, after;
	send_all(pair.client, V1, 20);
	await_bytes(pair.server, 20);
	getrusage(RUSAGE_THREAD, &before);
	struct stay part = stay(600);
	getrusage(RUSAGE_THREAD, &after);
	assert_in_time(&part, 600);
	ck_assert_int_le(part.cpu_ms, NO_CPU);
	ck_assert_int_le(after.ru_nvcsw - before.ru_nvcsw, 10);
}
END_TEST

START_TEST(the_processor_rests_while_a_header_is_larger_than_the_buffer)
{
	static char header[TP_HEADER_V2_MAX] = "\r\n\r\n\0\r\nQUIT\n\x20\0\xff\xff";
	const int small = 4096;
	union loopback name;
	int listener = listen_on_loopback(AF_INET, &name);
	setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	hang_up(pair);
	pair = connect_to(listener, &name);
	close(listener);
	send(pair.client, header, sizeof header, MSG_DONTWAIT);
	await_bytes(pair.server, 16);
	struct stay full = stay(600);
	assert_in_time(&full, 600);
	ck_assert_int_le(full.cpu_ms, NO_CPU);
}
END_TEST

int main(void)
{
	const int ways = (int)COUNT(ways_to_leave);
	TCase *tcase = tcase_create("await");
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, a_late_header_is_received);
	tcase_add_loop_test(tcase, a_header_in_pieces_is_received, 0, 4);
	tcase_add_test(tcase, a_header_that_was_there_before_is_received);
	tcase_add_test(tcase, what_turns_out_to_be_none_is_told_at_once);
	tcase_add_test(tcase, what_turns_out_to_be_bad_is_told_at_once);
	tcase_add_test(tcase, silence_ends_at_the_deadline);
	tcase_add_loop_test(tcase, a_part_of_a_header_ends_at_the_deadline, 1, 4);
	tcase_add_test(tcase, dripping_does_not_put_the_deadline_off);
	tcase_add_test(tcase, signals_neither_end_nor_prolong_the_wait);
	tcase_add_loop_test(tcase, a_sender_that_leaves_within_a_header_is_the_end, 0,
			    ways);
	tcase_add_loop_test(tcase, a_sender_that_leaves_without_a_word_is_the_end, 0,
			    ways);
	tcase_add_loop_test(tcase, a_sender_that_has_left_is_the_end, 0, ways);
	tcase_add_test(tcase, a_sender_that_leaves_after_its_header_has_sent_it);
	tcase_add_test(tcase, the_low_water_mark_is_put_back);
	tcase_add_test(tcase, the_processor_rests_while_a_part_lies_there);
	tcase_add_test(tcase,
		       the_processor_rests_while_a_header_is_larger_than_the_buffer);
	return run_tests("await", tcase);
}
