/* SPDX-License-Identifier: MIT */
#include "share.h"

#include <sys/un.h>

#include "clock.h"
#include "descriptors.h"
#include "guests.h"
#include "park.h"
#include "pass.h"
#include "room.h"
#include "sets.h"

static struct inn inn;
static uint64_t key;
static const char *program;

static void set_up(void)
{
	set_policy(PLAIN);
	limit_descriptors(8192);
	inn = open_inn();
	key = tp_socket_key(inn.listener);
	tp_share_make(inn.listener);
}

static void tear_down(void)
{
	close(inn.listener);
}

/* Both ends of the channel; the door is the one that is read. */
struct ends {
	int door, other;
};

static struct ends find_ends(void)
{
	struct ends ends = {tp_share_door(key), -1};
	for (int fd = 0; fd < 1024; fd++) {
		struct sockaddr_un name;
		socklen_t len = sizeof name;
		if (fd != ends.door && !getsockname(fd, (struct sockaddr *)&name, &len) &&
		    name.sun_family == AF_UNIX &&
		    !strncmp(name.sun_path + 1, "truepeer", 8))
			ends.other = fd;
	}
	ck_assert_int_ge(ends.other, 0);
	return ends;
}

static bool has_letters(void)
{
	return poll(&(struct pollfd){.fd = tp_share_door(key), .events = POLLIN}, 1, 0) ==
	       1;
}

/* A message of so many pipes, each with its number in it. */
static void make_passed(struct tp_passed *passed, int first, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int pipe[2], number = first + (int)i;
		ck_assert_int_eq(pipe2(pipe, O_CLOEXEC), 0);
		ck_assert_int_eq(write(pipe[1], &number, sizeof number), sizeof number);
		close(pipe[1]);
		passed[i] = (struct tp_passed){
			.fd = pipe[0],
			.deadline_ms = number * INT64_C(10000000000),
			.seen = (uint32_t)number + 1,
			.need = (uint32_t)number + 2,
			.usual_low_water = number + 4,
		};
	}
}

static void close_passed(const struct tp_passed *passed, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(passed[i].fd);
}

static bool put(int first, size_t count)
{
	struct tp_passed passed[TP_PASSED_MAX];
	make_passed(passed, first, count);
	bool sent = tp_share_put(key, passed, count);
	close_passed(passed, count);
	return sent;
}

/* What came out is what was put in, descriptors and all. */
static void check_passed(const struct tp_passed *passed, int first, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = -1, wanted = first + (int)i;
		ck_assert_int_eq(read(passed[i].fd, &number, sizeof number),
				 sizeof number);
		ck_assert_int_eq(number, wanted);
		ck_assert_int_eq(fcntl(passed[i].fd, F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(passed[i].deadline_ms, wanted * INT64_C(10000000000));
		ck_assert_uint_eq(passed[i].seen, (uint32_t)wanted + 1);
		ck_assert_uint_eq(passed[i].need, (uint32_t)wanted + 2);
		ck_assert_int_eq(passed[i].usual_low_water, wanted + 4);
	}
}

static void get(int first, size_t count)
{
	struct tp_passed passed[TP_PASSED_MAX];
	ck_assert_uint_eq(tp_share_get(key, passed), count);
	check_passed(passed, first, count);
	close_passed(passed, count);
}

static void get_none(void)
{
	struct tp_passed passed[TP_PASSED_MAX];
	ck_assert_uint_eq(tp_share_get(key, passed), 0);
}

/* ---- the channel ---- */

START_TEST(listener_without_a_channel_shares_nothing)
{
	struct inn other = open_inn();
	struct tp_passed passed[TP_PASSED_MAX];
	uint64_t other_key = tp_socket_key(other.listener);
	make_passed(passed, 1, 1);
	ck_assert_int_eq(tp_share_door(other_key), -1);
	ck_assert_int_eq(tp_share_door(0), -1);
	ck_assert(!tp_share_put(other_key, passed, 1));
	ck_assert_uint_eq(tp_share_get(other_key, passed), 0);
	ck_assert(!tp_pass_on(&policy, other.listener));
	ck_assert(!tp_pass_gather(&policy, other.listener, SIZE_MAX));
	close(other.listener);
}
END_TEST

static const size_t sizes[] = {1, 2, TP_PASSED_MAX - 1, TP_PASSED_MAX};

START_TEST(what_is_put_in_comes_out)
{
	struct inventory before;
	take_inventory(&before);
	for (int round = 0; round < 3; round++) {
		ck_assert(!has_letters());
		get_none();
		ck_assert(put(100, sizes[_i]));
		ck_assert(has_letters());
		get(100, sizes[_i]);
	}
	ck_assert_int_eq(count_new(&before), 0);
}
END_TEST

START_TEST(who_came_first_goes_first)
{
	for (int i = 0; i < 3; i++)
		ck_assert(put(i * 100, 3));
	for (int i = 0; i < 3; i++)
		get(i * 100, 3);
	get_none();
}
END_TEST

START_TEST(channel_is_made_once)
{
	struct inventory before;
	int door = tp_share_door(key);
	take_inventory(&before);
	ck_assert_int_ge(door, 190); /* out of the program's way */
	tp_share_make(inn.listener);
	ck_assert_int_eq(tp_share_door(key), door);
	ck_assert_int_eq(count_new(&before), 0);
}
END_TEST

START_TEST(only_after_fork_are_there_others)
{
	ck_assert(!tp_share_any());
	tp_share_forked();
	ck_assert(tp_share_any());
}
END_TEST

START_TEST(listeners_are_not_mixed_up)
{
	struct inn inns[16];
	uint64_t keys[16];
	struct tp_passed passed[TP_PASSED_MAX];
	for (int i = 0; i < 16; i++) {
		inns[i] = open_inn();
		keys[i] = tp_socket_key(inns[i].listener);
		tp_share_make(inns[i].listener);
	}
	for (int i = 0; i < 16; i++) {
		make_passed(passed, i * 10, 2);
		ck_assert(tp_share_put(keys[i], passed, 2));
		close_passed(passed, 2);
	}
	get_none();
	for (int i = 16; i-- > 0;) {
		ck_assert_uint_eq(tp_share_get(keys[i], passed), 2);
		check_passed(passed, i * 10, 2);
		close_passed(passed, 2);
		close(inns[i].listener);
	}
}
END_TEST

/* The caller still has its descriptors, and goes on when there is place again. */
START_TEST(full_queue_takes_no_more)
{
	int puts = 0;
	while (put(puts, 1))
		ck_assert_int_lt(++puts, 100000);
	ck_assert_int_gt(puts, 0);
	for (int i = 0; i < puts; i++)
		get(i, 1);
	get_none();
	ck_assert(put(7, 1));
	get(7, 1);
}
END_TEST

/* Too few numbers are free here: those that find none are reset by their last close. */
START_TEST(receiver_takes_what_it_has_numbers_for)
{
	struct tp_passed passed[TP_PASSED_MAX];
	struct inventory before;
	ck_assert(put(100, 8));
	ck_assert(put(200, 2));
	take_inventory(&before);
	int lowest = lowest_free();
	limit_descriptors((rlim_t)lowest + 3);
	size_t count = tp_share_get(key, passed);
	limit_descriptors(8192);
	ck_assert_uint_ge(count, 1);
	ck_assert_uint_le(count, 3);
	check_passed(passed, 100, count);
	close_passed(passed, count);
	get(200, 2);
	ck_assert_int_eq(count_new(&before), 0);
}
END_TEST

/* No number at all: they are gone, but those behind them are not stuck. */
START_TEST(receiver_without_numbers_gets_at_those_behind)
{
	ck_assert(put(100, 8));
	ck_assert(put(200, 2));
	limit_descriptors((rlim_t)lowest_free());
	get_none();
	limit_descriptors(8192);
	get(200, 2);
}
END_TEST

/* ---- ends that the program has put to other use ---- */

enum { DOOR, OTHER, BOTH, CLOSED, LOSSES };

static int lose(struct ends ends, int loss, int own)
{
	if (loss == CLOSED) {
		close(ends.door);
		close(ends.other);
	}
	if (loss == OTHER || loss == BOTH)
		dup2(own, ends.other);
	if (loss == DOOR || loss == BOTH)
		dup2(own, ends.door);
	return loss == OTHER ? ends.other : ends.door;
}

START_TEST(what_the_program_has_put_in_its_place_is_not_touched)
{
	int own[2];
	char byte = 'x';
	struct ends ends = find_ends();
	struct guest guest = arrive(&inn, NULL, 0);
	tp_park(&policy, inn.listener, &guest.connection, false);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, own), 0);
	int number = lose(ends, _i, own[0]);
	tp_pass_on(&policy, inn.listener);
	tp_pass_gather(&policy, inn.listener, SIZE_MAX);
	tp_share_before_exec();
	if (_i != CLOSED)
		ck_assert_int_eq(fcntl(number, F_GETFD), 0); /* as dup2 made it */
	tp_share_exec_failed();
	if (_i != CLOSED)
		ck_assert_int_eq(fcntl(number, F_GETFD), 0);
	ck_assert_int_eq(recv(own[1], &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(send(own[1], &byte, 1, MSG_DONTWAIT), 1);
	if (_i != CLOSED)
		ck_assert_int_eq(recv(number, &byte, 1, MSG_DONTWAIT), 1);
	/* A channel that is made anew serves as the first did. */
	tp_share_make(inn.listener);
	ck_assert(put(100, 2));
	get(100, 2);
}
END_TEST

/* A socket of the program's with another channel's ends in its place. */
START_TEST(end_of_another_channel_is_not_taken_for_ones_own)
{
	struct inn other = open_inn();
	struct tp_passed passed[TP_PASSED_MAX];
	uint64_t other_key = tp_socket_key(other.listener);
	struct ends ends = find_ends();
	tp_share_make(other.listener);
	make_passed(passed, 100, 1);
	ck_assert(tp_share_put(other_key, passed, 1));
	dup2(tp_share_door(other_key), ends.door);
	get_none();
	ck_assert_uint_eq(tp_share_get(other_key, passed), 1);
	check_passed(passed, 100, 1);
	close(other.listener);
}
END_TEST

/* Nobody from outside can write into a channel, though its name can be read. */
START_TEST(strangers_cannot_send)
{
	struct ends ends = find_ends();
	struct sockaddr_un name;
	socklen_t len = sizeof name;
	int stranger = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(getsockname(ends.door, (struct sockaddr *)&name, &len), 0);
	ck_assert_int_eq(sendto(stranger, "x", 1, 0, (struct sockaddr *)&name, len), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(connect(stranger, (struct sockaddr *)&name, len), -1);
	close(stranger);
	get_none();
}
END_TEST

/* ---- through the room ---- */

static const size_t crowds[] = {0, 1, 63, 64, 65, 200, 1024};

/* Whoever is parked here is found by the next process that waits. */
START_TEST(crowd_goes_through_the_channel)
{
	size_t count = crowds[_i];
	struct inventory before;
	struct guest *guests = calloc(count + 1, sizeof *guests);
	take_inventory(&before);
	for (size_t i = 0; i < count; i++) {
		guests[i] = arrive(&inn, "PROXY", 5);
		ck_assert_int_eq(
			tp_park(&policy, inn.listener, &guests[i].connection, false),
			TP_PARKED);
	}
	bool all = tp_pass_on(&policy, inn.listener);
	ck_assert(all || count > 200); /* the queue is as long as the kernel lets it */
	ck_assert_int_eq(tp_room_any(), !all);
	if (all)
		ck_assert_int_eq(count_new(&before), (int)count); /* the clients */
	ck_assert_int_eq(tp_pass_gather(&policy, inn.listener, SIZE_MAX), count > 0);
	ck_assert(!has_letters());
	for (size_t i = 0; i < count; i++) {
		struct tp_connection connection = {.fd = -1};
		char rest[V1_MAX];
		size_t len = put_header(rest, 1000 + (unsigned)i);
		send_all(guests[i].client, rest + 5, len - 5);
		for (int ms = 0; ms < PATIENCE_MS && connection.fd < 0; ms++)
			if (!tp_park_take(&policy, inn.listener, &connection))
				poll(NULL, 0, 1);
		ck_assert_uint_eq(connection.peer.client.port, 1000 + i);
		ck_assert_int_eq(low_water(connection.fd), 1);
		close(connection.fd);
		close(guests[i].client);
	}
	ck_assert(!tp_room_any());
	ck_assert_int_eq(count_new(&before), 0);
	free(guests);
}
END_TEST

START_TEST(deadline_comes_along)
{
	set_policy("TRUEPEER_TIMEOUT=300ms");
	struct guest guest = arrive(&inn, NULL, 0);
	int64_t deadline = guest.connection.deadline_ms;
	tp_park(&policy, inn.listener, &guest.connection, false);
	ck_assert(tp_pass_on(&policy, inn.listener));
	ck_assert(is_quiet(guest.client));
	ck_assert(tp_pass_gather(&policy, inn.listener, SIZE_MAX));
	struct tp_connection connection;
	int fd;
	ck_assert_uint_eq(tp_room_descriptors(inn.listener, &fd, 1), 1);
	await_event(fd, POLLIN);
	ck_assert_int_ge(tp_clock_ms(), deadline);
	ck_assert(!tp_park_take(&policy, inn.listener, &connection));
	ck_assert(was_reset(guest.client));
	close(guest.client);
}
END_TEST

/* Parked, and its time is over. */
static struct guest park_late(const void *bytes, size_t len)
{
	set_policy("TRUEPEER_TIMEOUT=1ms");
	struct guest guest = arrive(&inn, bytes, len);
	while (tp_clock_ms() < guest.connection.deadline_ms)
		poll(NULL, 0, 1);
	tp_park(&policy, inn.listener, &guest.connection, false);
	return guest;
}

static const char *const beginnings[] = {"", "PROXY TCP4 "};

/* There is no use in passing on one whose time is over. */
START_TEST(late_one_is_ended_rather_than_passed_on)
{
	struct guest guest = park_late(beginnings[_i], strlen(beginnings[_i]));
	ck_assert(tp_pass_on(&policy, inn.listener));
	ck_assert(!has_letters());
	ck_assert(was_reset(guest.client));
	ck_assert(!tp_room_any());
	close(guest.client);
}
END_TEST

/* It was in time, and nobody had any. */
START_TEST(late_one_with_its_header_is_passed_on)
{
	struct guest guest = park_late("PROXY", 5);
	struct tp_connection connection;
	char header[V1_MAX];
	size_t len = put_header(header, 1234);
	send_all(guest.client, header + 5, len - 5);
	await_bytes(guest.connection.fd, len);
	ck_assert(tp_pass_on(&policy, inn.listener));
	ck_assert(tp_pass_gather(&policy, inn.listener, SIZE_MAX));
	ck_assert(tp_park_take(&policy, inn.listener, &connection));
	ck_assert_uint_eq(connection.peer.client.port, 1234);
	close(connection.fd);
	close(guest.client);
}
END_TEST

/* ---- processes ---- */

/* What is in a channel outlives whoever put it there. */
START_TEST(one_process_takes_what_another_has_left)
{
	pid_t pid = fork();
	if (!pid)
		_exit(!put(100, 5));
	ends_well(pid);
	get(100, 5);
}
END_TEST

/* This program again: adopts the channel of the listener and takes what is in it. */
static int adopted(int listener)
{
	struct tp_passed passed[TP_PASSED_MAX];
	struct inventory before;
	key = tp_socket_key(listener);
	take_inventory(&before);
	if (tp_share_door(key) >= 0)
		return 2;
	tp_share_adopt();
	if (tp_share_door(key) < 0)
		return 3;
	if (!tp_share_any() || count_new(&before))
		return 4;
	if (fcntl(tp_share_door(key), F_GETFD) != FD_CLOEXEC)
		return 5;
	if (tp_share_get(key, passed) != 3)
		return 6;
	for (int i = 0, number; i < 3; i++)
		if (read(passed[i].fd, &number, sizeof number) != sizeof number ||
		    number != 100 + i)
			return 7;
	passed[0].seen = 77;
	return tp_share_put(key, passed, 1) ? 0 : 8;
}

static pid_t run_again(void)
{
	char number[16];
	pid_t pid = fork();
	snprintf(number, sizeof number, "%d", inn.listener);
	if (!pid) {
		tp_share_before_exec();
		execl("/proc/self/exe", program, number, (char *)NULL);
		_exit(1);
	}
	return pid;
}

static void let_listener_through_exec(void)
{
	ck_assert_int_eq(fcntl(inn.listener, F_SETFD, 0), 0);
}

START_TEST(channel_goes_through_exec_with_its_listener)
{
	struct tp_passed passed[TP_PASSED_MAX];
	let_listener_through_exec();
	ck_assert(put(100, 3));
	ends_well(run_again());
	ck_assert_uint_eq(tp_share_get(key, passed), 1);
	ck_assert_uint_eq(passed[0].seen, 77);
	close(passed[0].fd);
}
END_TEST

/* The name that an end had, and other sockets of that shape, are not enough. */
START_TEST(only_what_is_a_channel_is_adopted)
{
	struct sockaddr_un name;
	socklen_t len = sizeof name;
	struct ends ends = find_ends();
	ck_assert_int_eq(getsockname(ends.door, (struct sockaddr *)&name, &len), 0);
	close(ends.door);
	int impostor = socket(AF_UNIX, SOCK_DGRAM, 0);
	ck_assert_int_eq(bind(impostor, (struct sockaddr *)&name, len), 0);
	ck_assert_int_eq(dup2(impostor, ends.door), ends.door);
	fcntl(ends.other, F_SETFD, 0);
	let_listener_through_exec();
	int status;
	ck_assert_int_gt(waitpid(run_again(), &status, 0), 0);
	ck_assert_int_eq(WEXITSTATUS(status), 3);
}
END_TEST

/* All that are open; where the kernel takes no 256 at once, at least those. */
START_TEST(descriptors_are_found)
{
	struct tp_descriptors all = {.next = _i, .end = 1000};
	struct inventory inventory;
	ck_assert_int_eq(dup2(inn.listener, 999), 999);
	take_inventory(&inventory);
	if (_i)
		limit_descriptors(200);
	for (int fd = _i, found; fd < 1000; fd = found + 1) {
		found = tp_descriptors_next(&all);
		for (int passed = fd; passed < found; passed++)
			ck_assert(!inventory.open[passed]);
		ck_assert(inventory.open[found] || _i);
	}
	ck_assert_int_eq(tp_descriptors_next(&all), -1);
	close(999);
}
END_TEST

static int questions;

int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size);

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	questions++;
	return __real_getsockopt(fd, level, option, value, size);
}

/* Programs that start others all the time have many listeners, too. */
START_TEST(start_of_a_program_does_not_ask_for_every_number)
{
	struct inn inns[16];
	struct inventory nothing = {0};
	for (int i = 0; i < 16; i++) {
		inns[i] = open_inn();
		fcntl(inns[i].listener, F_SETFD, i & 1 ? FD_CLOEXEC : 0);
		tp_share_make(inns[i].listener);
	}
	questions = 0;
	tp_share_before_exec();
	ck_assert_int_gt(questions, 0);
	ck_assert_int_le(questions, 4 * count_new(&nothing));
	for (int i = 0; i < 16; i++) {
		int door = tp_share_door(tp_socket_key(inns[i].listener));
		ck_assert_int_eq(fcntl(door, F_GETFD), i & 1 ? FD_CLOEXEC : 0);
		close(inns[i].listener);
	}
}
END_TEST

static bool is_close_on_exec(void)
{
	struct ends ends = find_ends();
	int door = fcntl(ends.door, F_GETFD), other = fcntl(ends.other, F_GETFD);
	ck_assert_int_eq(door, other);
	return door == FD_CLOEXEC;
}

START_TEST(channel_stays_behind_with_its_listener)
{
	ck_assert(is_close_on_exec());
	tp_share_before_exec();
	ck_assert(is_close_on_exec());
	let_listener_through_exec();
	tp_share_before_exec();
	ck_assert(!is_close_on_exec());
	tp_share_exec_failed();
	ck_assert(is_close_on_exec());
}
END_TEST

int main(int argc, char **argv)
{
	program = argv[0];
	if (argc == 2)
		return adopted(atoi(argv[1]));
	TCase *tcase = tcase_create("share");
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, listener_without_a_channel_shares_nothing);
	tcase_add_table(tcase, what_is_put_in_comes_out, sizes);
	tcase_add_test(tcase, who_came_first_goes_first);
	tcase_add_test(tcase, channel_is_made_once);
	tcase_add_test(tcase, only_after_fork_are_there_others);
	tcase_add_test(tcase, listeners_are_not_mixed_up);
	tcase_add_test(tcase, full_queue_takes_no_more);
	tcase_add_test(tcase, receiver_takes_what_it_has_numbers_for);
	tcase_add_test(tcase, receiver_without_numbers_gets_at_those_behind);
	tcase_add_loop_test(tcase, what_the_program_has_put_in_its_place_is_not_touched,
			    0, LOSSES);
	tcase_add_test(tcase, end_of_another_channel_is_not_taken_for_ones_own);
	tcase_add_test(tcase, strangers_cannot_send);
	tcase_add_table(tcase, crowd_goes_through_the_channel, crowds);
	tcase_add_test(tcase, deadline_comes_along);
	tcase_add_table(tcase, late_one_is_ended_rather_than_passed_on, beginnings);
	tcase_add_test(tcase, late_one_with_its_header_is_passed_on);
	tcase_add_test(tcase, one_process_takes_what_another_has_left);
	tcase_add_test(tcase, channel_goes_through_exec_with_its_listener);
	tcase_add_test(tcase, only_what_is_a_channel_is_adopted);
	tcase_add_loop_test(tcase, descriptors_are_found, 0, 2);
	tcase_add_test(tcase, start_of_a_program_does_not_ask_for_every_number);
	tcase_add_test(tcase, channel_stays_behind_with_its_listener);
	return run_tests("share", tcase);
}
