/* SPDX-License-Identifier: MIT */
#include "room.h"

#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "owner.h"
#include "park.h"
#include "pass.h"
#include "sets.h"
#include "share.h"

#include "fake_clock.h"
#include "guests.h"

#define OPTIONAL "TRUEPEER_HEADER=optional"
#define DATA 0xfeedc0dedeadbeef /* of the listener, in the program's epoll sets */

#define PROGRAM_INTERVAL 7 /* seconds, of the program's timer */

static struct inn inn;
static struct inventory before;

static void set_up(void)
{
	set_policy(PLAIN);
	limit_descriptors(4096);
	take_inventory(&before);
	inn = open_inn();
}

/* Whatever a test did, nothing is left behind. */
static void tear_down(void)
{
	close(inn.listener);
	ck_assert(!tp_room_any());
	ck_assert_int_eq(count_new(&before), 0);
}

static struct guest park_at(const struct inn *where, const void *bytes, size_t len)
{
	struct guest guest = arrive(where, bytes, len);
	ck_assert_int_eq(tp_park(&policy, where->listener, &guest.connection, false),
			 TP_PARKED);
	return guest;
}

static struct guest park(void)
{
	return park_at(&inn, NULL, 0);
}

static size_t rooms(void)
{
	int fds[4];
	return tp_room_descriptors(inn.listener, fds, COUNT(fds));
}

static int room(void)
{
	int fd = -1;
	ck_assert_uint_eq(tp_room_descriptors(inn.listener, &fd, 1), 1);
	return fd;
}

static bool has_news(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

/* The room's timer, which is not one of the program's. */
static int timer(void)
{
	struct itimerspec alarm;
	for (int fd = 0; fd < (int)COUNT(before.open); fd++)
		if (!before.open[fd] && !timerfd_gettime(fd, &alarm) &&
		    alarm.it_interval.tv_sec != PROGRAM_INTERVAL)
			return fd;
	ck_abort_msg("there is no timer");
	return -1;
}

/* Nobody is handed over now; what is to be ended is. */
static void take_none(void)
{
	struct tp_connection connection;
	ck_assert(!tp_park_take(&policy, inn.listener, &connection));
}

static struct tp_connection take_at(const struct inn *where)
{
	struct tp_connection connection = {.fd = -1};
	ck_assert(tp_park_take(&policy, where->listener, &connection));
	return connection;
}

static void leave(struct guest guest, const struct tp_connection *connection)
{
	close(guest.client);
	close(connection->fd);
}

/* The client sends its header, and is handed over under that name. */
static void serve_at(const struct inn *where, struct guest guest, unsigned port)
{
	int fd;
	send_header(guest.client, port);
	ck_assert_uint_eq(tp_room_descriptors(where->listener, &fd, 1), 1);
	await_event(fd, POLLIN);
	struct tp_connection connection = take_at(where);
	ck_assert_uint_eq(connection.peer.client.port, port);
	leave(guest, &connection);
}

static void serve(struct guest guest, unsigned port)
{
	serve_at(&inn, guest, port);
}

static void goes_by_reset(struct guest guest)
{
	ck_assert(was_reset(guest.client));
	close(guest.client);
}

/* ---- who comes and goes ---- */

START_TEST(nobody_costs_nothing)
{
	take_none();
	tp_park_close(inn.listener);
	tp_room_mirror(inn.listener, 0, EPOLL_CTL_ADD, &(struct epoll_event){0});
	ck_assert(!tp_room_any());
	ck_assert(!tp_owner_is_copy());
	ck_assert(!tp_owner_is_borrowed());
	ck_assert_uint_eq(rooms(), 0);
	ck_assert_int_eq(count_new(&before), 1); /* the listener */
}
END_TEST

START_TEST(client_is_handed_over_with_its_header)
{
	struct guest guest = park();
	ck_assert(tp_room_any());
	ck_assert(!has_news(room()));
	take_none();
	serve(guest, 4711);
	ck_assert_uint_eq(rooms(), 0);
}
END_TEST

START_TEST(crowd_is_handed_over_in_any_order)
{
	struct guest guests[100];
	for (unsigned i = 0; i < COUNT(guests); i++)
		guests[i] = park();
	ck_assert_uint_eq(rooms(), 1);
	for (unsigned left = COUNT(guests); left; left--) {
		size_t chosen = draw_below(left);
		serve(guests[chosen], 1000 + left);
		guests[chosen] = guests[left - 1];
	}
}
END_TEST

/* Bytes that do not complete the header do not wake anybody more often than is needed. */
START_TEST(dripping_client_is_handed_over_at_its_last_byte)
{
	char header[V1_MAX];
	size_t len = put_header(header, 4711), looks = 0;
	struct guest guest = park();
	for (size_t i = 0; i < len - 1; i++) {
		send_all(guest.client, header + i, 1);
		await_bytes(guest.connection.fd, i + 1);
		if (has_news(room())) {
			looks++;
			take_none();
		}
		ck_assert(!has_news(room()));
	}
	ck_assert_uint_le(looks, len);
	send_all(guest.client, header + len - 1, 1);
	await_event(room(), POLLIN);
	struct tp_connection connection = take_at(&inn);
	ck_assert_uint_eq(connection.peer.client.port, 4711);
	leave(guest, &connection);
}
END_TEST

START_TEST(words_behind_the_header_are_the_programs)
{
	char words[5] = "";
	struct guest guest = park_at(&inn, "PROXY ", 6);
	send_all(guest.client, "UNKNOWN\r\nEHLO", 13);
	await_event(room(), POLLIN);
	struct tp_connection connection = take_at(&inn);
	ck_assert_int_eq(recv(connection.fd, words, sizeof words, MSG_DONTWAIT), 4);
	ck_assert_str_eq(words, "EHLO");
	leave(guest, &connection);
}
END_TEST

static const struct {
	const char *bytes, *setting;
	bool handed_over;
} refusals[] = {
	{"GET / HTTP/1.0\r\n", PLAIN, false},
	{"GET / HTTP/1.0\r\n", OPTIONAL, true},
	{"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", PLAIN, false},
	{"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", OPTIONAL, false},
};

START_TEST(what_is_no_header_is_refused_unless_it_is_optional)
{
	set_policy(refusals[_i].setting);
	struct guest guest = park();
	send_all(guest.client, refusals[_i].bytes, strlen(refusals[_i].bytes));
	await_event(room(), POLLIN);
	if (refusals[_i].handed_over) {
		struct tp_connection connection = take_at(&inn);
		ck_assert_int_eq(connection.peer.client.family, AF_UNSPEC);
		leave(guest, &connection);
	} else {
		take_none();
		goes_by_reset(guest);
	}
}
END_TEST

START_TEST(client_that_leaves_is_gone_at_once)
{
	struct guest guest = park_at(&inn, "PROXY", 5);
	_i ? reset(guest.client) : (void)close(guest.client);
	await_event(room(), POLLIN);
	take_none();
	ck_assert(!tp_room_any());
}
END_TEST

/* ---- SO_RCVLOWAT ---- */

/* The program may have set it on its listener. */
START_TEST(low_water_mark_is_put_back)
{
	const int usual = _i ? 7 : 1;
	setsockopt(inn.listener, SOL_SOCKET, SO_RCVLOWAT, &usual, sizeof usual);
	struct guest guest = park_at(&inn, "PROXY ", 6);
	ck_assert_int_eq(low_water(guest.connection.fd), (int)guest.connection.need);
	ck_assert_int_gt((int)guest.connection.need, 6);
	send_all(guest.client, "UNKNOWN\r\n", 9);
	await_event(room(), POLLIN);
	struct tp_connection connection = take_at(&inn);
	ck_assert_int_eq(low_water(connection.fd), usual);
	leave(guest, &connection);
}
END_TEST

/*
 * A header longer than the receive buffer: the kernel always has news, which would make
 * whoever waits spin. So it is looked at every now and then.
 */
START_TEST(header_that_the_kernel_cannot_hold_wakes_nobody_for_nothing)
{
	static const uint8_t start[16] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x7f\xff";
	static const uint8_t zeroes[16384];
	const int small = 1;
	set_policy("TRUEPEER_MAX_HEADER=65535");
	setsockopt(inn.listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	struct guest guest = park_at(&inn, start, sizeof start);
	while (send(guest.client, zeroes, sizeof zeroes, MSG_DONTWAIT) > 0)
		;
	await_event(room(), POLLIN);
	for (int looks = 0; has_news(room()); looks++) {
		ck_assert_int_lt(looks, 8);
		take_none();
	}
	for (int ms = 0; ms < 1000; ms += 100) {
		advance(100);
		ck_assert(has_news(room()));
		take_none();
		ck_assert(!has_news(room()));
	}
	advance(TIMEOUT_MS);
	take_none();
	goes_by_reset(guest);
}
END_TEST

/* ---- deadlines ---- */

START_TEST(silent_client_is_reset_at_its_deadline)
{
	struct guest guest = park();
	advance(TIMEOUT_MS - 1);
	ck_assert(!has_news(room()));
	take_none();
	ck_assert(is_quiet(guest.client));
	advance(1);
	ck_assert(has_news(room()));
	take_none();
	goes_by_reset(guest);
	ck_assert(!tp_room_any());
}
END_TEST

START_TEST(dripping_client_is_reset_at_its_deadline)
{
	struct guest guest = park();
	for (int ms = 0; ms < TIMEOUT_MS; ms += 1000) {
		send_all(guest.client, &"PROXY"[ms / 1000], 1);
		take_none();
		ck_assert(is_quiet(guest.client));
		advance(1000);
	}
	ck_assert(has_news(room()));
	take_none();
	goes_by_reset(guest);
}
END_TEST

START_TEST(silent_client_is_handed_over_at_its_deadline_where_headers_are_optional)
{
	set_policy(OPTIONAL);
	struct guest guest = park();
	advance(TIMEOUT_MS - 1);
	take_none();
	advance(1);
	struct tp_connection connection = take_at(&inn);
	ck_assert_int_eq(connection.peer.client.family, AF_UNSPEC);
	ck_assert_int_eq(low_water(connection.fd), 1);
	leave(guest, &connection);
}
END_TEST

/* In whatever order the deadlines are: also when a later comer's is the first. */
static const unsigned timeouts[][3] = {
	{100, 200, 300}, {300, 200, 100}, {200, 300, 100},
	{200, 100, 300}, {100, 100, 100},
};

START_TEST(each_has_a_deadline_of_its_own)
{
	struct guest guests[3];
	for (size_t i = 0; i < 3; i++) {
		char setting[64];
		snprintf(setting, sizeof setting, "TRUEPEER_TIMEOUT=%ums",
			 timeouts[_i][i]);
		set_policy(setting);
		guests[i] = park();
	}
	for (unsigned now = 0; now <= 300; now += 50) {
		for (size_t i = 0; i < 3; i++)
			if (timeouts[_i][i] == now)
				ck_assert(has_news(room()));
		take_none();
		for (size_t i = 0; i < 3; i++)
			if (timeouts[_i][i] == now)
				goes_by_reset(guests[i]);
			else if (timeouts[_i][i] > now)
				ck_assert(is_quiet(guests[i].client));
		advance(50);
	}
}
END_TEST

/* One look ends them all, and hands over one that was in time at the same moment. */
START_TEST(header_and_deadline_may_come_together)
{
	struct guest late[20], in_time = park();
	for (size_t i = 0; i < COUNT(late); i++)
		late[i] = park();
	advance(TIMEOUT_MS);
	serve(in_time, 4711);
	take_none();
	for (size_t i = 0; i < COUNT(late); i++)
		goes_by_reset(late[i]);
}
END_TEST

/* There may always be others who are ready. */
START_TEST(deadline_is_kept_beside_a_crowd_that_is_ready)
{
	struct guest silent = park(), ready[10];
	advance(TIMEOUT_MS - 1);
	for (size_t i = 0; i < COUNT(ready); i++) {
		char header[V1_MAX];
		size_t len = put_header(header, 1000 + (unsigned)i);
		ready[i] = park();
		send_all(ready[i].client, header, len);
		await_bytes(ready[i].connection.fd, len);
	}
	advance(1);
	for (size_t i = 0; i < COUNT(ready); i++) {
		struct tp_connection connection = take_at(&inn);
		if (!i)
			goes_by_reset(silent);
		leave(ready[i], &connection);
	}
}
END_TEST

/* ---- bounds ---- */

START_TEST(whoever_has_waited_longest_goes_when_there_are_too_many)
{
	struct guest guests[6];
	set_policy("TRUEPEER_MAX_PENDING=4");
	for (size_t i = 0; i < 6; i++)
		guests[i] = park();
	goes_by_reset(guests[0]);
	goes_by_reset(guests[1]);
	for (unsigned i = 2; i < 6; i++) {
		ck_assert(is_quiet(guests[i].client));
		serve(guests[i], i);
	}
}
END_TEST

/* ... and not whoever has the first place, or has said least. */
START_TEST(late_comer_to_an_early_place_does_not_go_first)
{
	struct guest guests[6];
	set_policy("TRUEPEER_MAX_PENDING=3");
	for (size_t i = 0; i < 3; i++)
		guests[i] = park();
	serve(guests[0], 1);
	guests[3] = park();
	send_all(guests[1].client, "PROXY TCP4", 10);
	guests[4] = park();
	goes_by_reset(guests[1]);
	guests[5] = park();
	goes_by_reset(guests[2]);
	for (unsigned i = 3; i < 6; i++)
		serve(guests[i], i);
}
END_TEST

/* ... nor whoever has been with this process longest: some have been with others, too. */
START_TEST(time_with_others_counts)
{
	struct guest guests[6];
	set_policy("TRUEPEER_MAX_PENDING=4");
	tp_share_make(inn.listener);
	for (size_t i = 0; i < 5; i++) {
		guests[i] = park();
		advance(1);
		if (i == 1)
			ck_assert(tp_pass_on(&policy, inn.listener));
		if (i == 3)
			ck_assert(tp_pass_gather(&policy, inn.listener, SIZE_MAX));
	}
	goes_by_reset(guests[0]);
	guests[5] = park();
	goes_by_reset(guests[1]);
	for (unsigned i = 2; i < 6; i++)
		serve(guests[i], i);
	tp_share_close(tp_socket_key(inn.listener));
}
END_TEST

/* Whoever comes back from them may be the one. */
START_TEST(who_has_waited_longest_drives_nobody_out)
{
	struct guest guests[5];
	set_policy("TRUEPEER_MAX_PENDING=4");
	tp_share_make(inn.listener);
	for (size_t i = 0; i < 5; i++) {
		guests[i] = park();
		advance(1);
		if (!i)
			ck_assert(tp_pass_on(&policy, inn.listener));
	}
	ck_assert(tp_pass_gather(&policy, inn.listener, SIZE_MAX));
	goes_by_reset(guests[0]);
	for (unsigned i = 1; i < 5; i++)
		serve(guests[i], i);
	tp_share_close(tp_socket_key(inn.listener));
}
END_TEST

START_TEST(no_more_wait_than_a_quarter_of_the_descriptors)
{
	struct guest guests[24];
	limit_descriptors(128);
	for (size_t i = 0; i < COUNT(guests); i++)
		guests[i] = park();
	for (size_t i = 0; i < COUNT(guests); i++)
		ck_assert(is_quiet(guests[i].client));
	limit_descriptors(64); /* the program may set it lower than it was */
	struct guest last = park();
	goes_by_reset(guests[0]);
	limit_descriptors(4096);
	for (unsigned i = 1; i < COUNT(guests); i++)
		serve(guests[i], i);
	serve(last, 4711);
}
END_TEST

/* ---- descriptors ---- */

START_TEST(parked_connection_is_out_of_the_way)
{
	int lowest = lowest_free() + 1; /* the client's is the first */
	struct guest guest = park();
	ck_assert_int_ge(guest.connection.fd, 2048);
	serve(guest, 4711);
	ck_assert_int_eq(lowest_free(), lowest - 1);
}
END_TEST

START_TEST(select_gets_low_numbers_beside_a_crowd)
{
	static struct guest guests[300];
	limit_descriptors(2048);
	for (size_t i = 0; i < COUNT(guests); i++) {
		guests[i] = park();
		ck_assert_int_ge(guests[i].connection.fd, 1024);
	}
	for (unsigned i = 0; i < COUNT(guests); i++) {
		int lowest = lowest_free();
		send_header(guests[i].client, 1000 + i);
		await_event(room(), POLLIN);
		struct tp_connection connection = take_at(&inn);
		ck_assert_int_eq(connection.fd, lowest);
		leave(guests[i], &connection);
	}
}
END_TEST

START_TEST(everything_is_closed_on_exec)
{
	struct guest guest = park();
	for (int fd = 0; fd < (int)COUNT(before.open); fd++)
		if (is_open(fd) && !before.open[fd])
			ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	serve(guest, 4711);
}
END_TEST

/* No number is free up there: the connection stays where it is. */
START_TEST(connection_is_parked_where_nothing_is_out_of_the_way)
{
	int filler[32];
	limit_descriptors(64);
	for (size_t i = 0; i < COUNT(filler); i++)
		ck_assert_int_ge(filler[i] = fcntl(inn.listener, F_DUPFD_CLOEXEC, 32),
				 32);
	ck_assert_int_eq(fcntl(inn.listener, F_DUPFD_CLOEXEC, 32), -1);
	struct guest guest = park();
	ck_assert_int_lt(guest.connection.fd, 32);
	ck_assert_int_eq(fcntl(guest.connection.fd, F_GETFD), FD_CLOEXEC);
	serve(guest, 4711);
	for (size_t i = 0; i < COUNT(filler); i++)
		close(filler[i]);
}
END_TEST

START_TEST(connection_stays_the_callers_where_there_is_no_room)
{
	struct guest guest = arrive(&inn, "PROXY", 5);
	limit_descriptors((rlim_t)(lowest_free() + _i));
	ck_assert_int_eq(tp_park(&policy, inn.listener, &guest.connection, false),
			 TP_PARKED_NOT);
	limit_descriptors(4096);
	ck_assert(!tp_room_any());
	ck_assert(is_quiet(guest.client));
	ck_assert_int_eq(low_water(guest.connection.fd), 1);
	leave(guest, &guest.connection);
}
END_TEST

/* ---- numbers that the program has put to other use ---- */

/* What the program has: each is told of nothing but its own. */
struct program {
	int talk[2], pipe[2], set, timer;
};

static const struct itimerspec program_time = {{PROGRAM_INTERVAL, 0}, {INT32_MAX, 0}};

/* Told once: whoever looks at the set takes it from the program. */
static const struct epoll_event program_event = {.events = EPOLLIN | EPOLLET,
						 .data.u64 = DATA};

static void open_program(struct program *program)
{
	struct epoll_event event = program_event;
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, program->talk), 0);
	ck_assert_int_eq(pipe2(program->pipe, O_CLOEXEC), 0);
	program->set = epoll_create1(EPOLL_CLOEXEC);
	program->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	ck_assert_int_eq(epoll_ctl(program->set, EPOLL_CTL_ADD, program->pipe[0], &event),
			 0);
	__real_timerfd_settime(program->timer, TFD_TIMER_ABSTIME, &program_time, NULL);
	ck_assert_int_eq(write(program->pipe[1], "x", 1), 1);
}

static void close_program(struct program *program)
{
	for (int i = 0; i < 2; i++) {
		close(program->talk[i]);
		close(program->pipe[i]);
	}
	close(program->set);
	close(program->timer);
}

static size_t members(int set)
{
	char path[64], line[256];
	size_t count = 0;
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", set);
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof line, file))
		count += !strncmp(line, "tfd:", 4);
	fclose(file);
	return count;
}

static bool has_its_news(const struct program *program)
{
	struct epoll_event event;
	bool has = epoll_wait(program->set, &event, 1, 0) == 1 && event.data.u64 == DATA;
	event = program_event;
	epoll_ctl(program->set, EPOLL_CTL_MOD, program->pipe[0], &event);
	return has;
}

static bool is_untouched(const struct program *program)
{
	struct itimerspec time;
	char byte = 'x';
	return send(program->talk[0], &byte, 1, MSG_NOSIGNAL) == 1 &&
	       recv(program->talk[1], &byte, 1, MSG_DONTWAIT) == 1 &&
	       low_water(program->talk[0]) == 1 && members(program->set) == 1 &&
	       has_its_news(program) && !timerfd_gettime(program->timer, &time) &&
	       time.it_interval.tv_sec == PROGRAM_INTERVAL &&
	       time.it_value.tv_sec > INT32_MAX / 2;
}

/* Descriptors that /proc calls so. */
static size_t count_called(const char *called)
{
	char path[64], target[64];
	size_t count = 0;
	for (int fd = 0; fd < (int)COUNT(before.open); fd++) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof target - 1);
		target[n > 0 ? n : 0] = '\0';
		count += !strcmp(target, called);
	}
	return count;
}

enum { CONNECTION, ROOM, TIMER, ALL, VICTIMS };

/* Closes what is parked and puts something of the program's there, as dup2 does. */
static void usurp(const struct program *program, int victim, int usurper,
		  const struct guest *guest, int taken[3])
{
	const int numbers[] = {guest->connection.fd, room(), timer()};
	const int own[] = {program->talk[0], program->set, program->timer};
	for (int i = 0; i < 3; i++) {
		taken[i] = -1;
		if (victim == i || victim == ALL)
			taken[i] = dup2(own[usurper], numbers[i]);
	}
}

static bool are_still_there(const struct program *program, int usurper,
			    const int taken[3])
{
	struct itimerspec time;
	for (int i = 0; i < 3; i++)
		if (taken[i] >= 0 &&
		    (usurper == 0   ? low_water(taken[i]) != 1
		     : usurper == 1 ? members(taken[i]) != 1
				    : timerfd_gettime(taken[i], &time) != 0))
			return false;
	return is_untouched(program);
}

static size_t count_taken(const int taken[3])
{
	size_t count = 0;
	for (int i = 0; i < 3; i++)
		count += taken[i] >= 0;
	return count;
}

static void look(struct guest *guest)
{
	char header[V1_MAX];
	struct tp_connection connection;
	size_t len = put_header(header, 4711);
	if (send(guest->client, header, len, MSG_NOSIGNAL) == (ssize_t)len &&
	    tp_park_take(&policy, inn.listener, &connection))
		close(connection.fd);
}

static void let_time_pass(struct guest *guest)
{
	(void)guest;
	advance(TIMEOUT_MS);
	take_none();
}

/* Later comers are not lost. */
static void park_another(struct guest *guest)
{
	(void)guest;
	serve(park(), 4712);
}

static void drive_out(struct guest *guest)
{
	(void)guest;
	set_policy("TRUEPEER_MAX_PENDING=1");
	park_another(guest);
}

static void close_listener(struct guest *guest)
{
	(void)guest;
	tp_park_close(inn.listener);
}

static void change_set(struct guest *guest)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(EPOLL_CLOEXEC);
	(void)guest;
	tp_room_mirror(inn.listener, set, EPOLL_CTL_ADD, &event);
	close(set);
}

static void pass_on(struct guest *guest)
{
	(void)guest;
	tp_share_make(inn.listener);
	tp_pass_on(&policy, inn.listener);
	tp_pass_gather(&policy, inn.listener, SIZE_MAX);
}

static void be_forked(struct guest *guest)
{
	(void)guest;
	tp_park_forked();
}

static void (*const happenings[])(struct guest *) = {
	look,		let_time_pass, park_another, drive_out,
	close_listener, change_set,    pass_on,	     be_forked,
};

#define USURPERS 3

START_TEST(what_the_program_has_put_in_its_place_is_not_touched)
{
	const int victim = _i % VICTIMS, usurper = _i / VICTIMS % USURPERS;
	struct program program;
	int taken[3];
	open_program(&program);
	struct guest guest = park();
	usurp(&program, victim, usurper, &guest, taken);
	happenings[_i / VICTIMS / USURPERS](&guest);
	ck_assert(are_still_there(&program, usurper, taken));
	close_listener(&guest);
	let_time_pass(&guest);
	ck_assert(are_still_there(&program, usurper, taken));
	ck_assert(!tp_room_any());
	ck_assert_uint_eq(rooms(), 0);
	serve(park(), 4713);
	/* An epoll instance alone is known by who is in it, when all are looked at. */
	if (victim != TIMER || _i / VICTIMS / USURPERS < 3)
		ck_assert_uint_eq(count_called("anon_inode:[eventpoll]"),
				  1 + (usurper == 1) * count_taken(taken));
	ck_assert_uint_eq(count_called("anon_inode:[timerfd]"),
			  1 + (usurper == 2) * count_taken(taken));
	_exit(0); /* with descriptors that only the program can close */
}
END_TEST

/* closefrom(2) and the like: costs those who wait, and nothing else. */
START_TEST(program_may_close_all_descriptors)
{
	struct guest guests[20];
	for (size_t i = 0; i < COUNT(guests); i++)
		guests[i] = park();
	for (int fd = 0; fd < (int)COUNT(before.open); fd++) {
		bool is_ours = is_open(fd) && !before.open[fd] && fd != inn.listener;
		for (size_t i = 0; i < COUNT(guests); i++)
			is_ours = is_ours && fd != guests[i].client;
		if (is_ours)
			close(fd);
	}
	serve(park(), 4711);
	take_none();
	for (size_t i = 0; i < COUNT(guests); i++)
		close(guests[i].client);
	let_time_pass(NULL);
}
END_TEST

/* ---- processes ---- */

/* In the child of a test; it may not assert. */
static bool child_is_free_of_copies(int descriptors)
{
	bool is_free = !tp_room_any() && !rooms() && count_new(&before) == descriptors;
	return is_free && !tp_owner_is_copy() && !tp_owner_is_borrowed();
}

START_TEST(forked_child_drops_its_copies)
{
	int clients[50], descriptors;
	struct guest guests[50];
	descriptors = count_new(&before) + (int)COUNT(guests);
	for (size_t i = 0; i < COUNT(guests); i++) {
		guests[i] = park();
		clients[i] = guests[i].client;
	}
	pid_t pid = fork();
	if (!pid) {
		tp_park_forked();
		_exit(!child_is_free_of_copies(descriptors));
	}
	ends_well(pid);
	for (unsigned i = 0; i < COUNT(guests); i++) {
		ck_assert(is_quiet(clients[i]));
		serve(guests[i], i + 1);
	}
}
END_TEST

/* A child of a bare clone(2), in which nobody called tp_park_forked. */
START_TEST(child_learns_that_it_has_copies)
{
	int descriptors = count_new(&before) + 1;
	struct guest guest = park();
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		bool copy = tp_owner_is_copy();
		tp_park_forked();
		_exit(!(copy && child_is_free_of_copies(descriptors)));
	}
	ends_well(pid);
	ck_assert(!tp_owner_is_copy());
	serve(guest, 4711);
}
END_TEST

START_TEST(child_has_rooms_of_its_own)
{
	struct guest guest = park();
	pid_t pid = fork();
	if (!pid) {
		struct tp_connection connection;
		tp_park_forked();
		struct guest own = park();
		send_header(own.client, 4711);
		if (poll(&(struct pollfd){.fd = room(), .events = POLLIN}, 1, 5000) != 1)
			_exit(1);
		_exit(!tp_park_take(&policy, inn.listener, &connection) ||
		      connection.peer.client.port != 4711);
	}
	ends_well(pid);
	serve(guest, 4712);
}
END_TEST

#ifndef __SANITIZE_THREAD__ /* which forks instead */
static volatile bool was_borrowed, was_copy;

START_TEST(child_of_vfork_knows_that_it_borrows)
{
	struct guest guest = park();
	pid_t pid = vfork();
	if (!pid) {
		was_borrowed = tp_owner_is_borrowed();
		was_copy = tp_owner_is_copy();
		_exit(0);
	}
	ends_well(pid);
	ck_assert(was_borrowed);
	ck_assert(!was_copy);
	ck_assert(!tp_owner_is_borrowed());
	serve(guest, 4711);
}
END_TEST
#endif

/* ---- several listeners ---- */

START_TEST(listeners_are_not_mixed_up)
{
	struct inn inns[8];
	struct guest guests[8];
	for (size_t i = 0; i < 8; i++) {
		inns[i] = open_inn();
		guests[i] = park_at(&inns[i], NULL, 0);
	}
	for (unsigned i = 0; i < 8; i++)
		send_header(guests[i].client, 1000 + i);
	take_none();
	for (unsigned i = 8; i-- > 0;) {
		int fd;
		ck_assert_uint_eq(tp_room_descriptors(inns[i].listener, &fd, 1), 1);
		await_event(fd, POLLIN);
		struct tp_connection connection = take_at(&inns[i]);
		ck_assert_uint_eq(connection.peer.client.port, 1000 + i);
		leave(guests[i], &connection);
		close(inns[i].listener);
	}
}
END_TEST

START_TEST(listener_takes_its_own_along_when_it_goes)
{
	struct inn other = open_inn();
	struct guest here = park(), there = park_at(&other, NULL, 0), there_too;
	there_too = park_at(&other, "PROXY", 5);
	tp_park_close(other.listener);
	goes_by_reset(there);
	goes_by_reset(there_too);
	close(other.listener);
	ck_assert(is_quiet(here.client));
	serve(here, 4711);
}
END_TEST

START_TEST(dup_of_a_listener_is_the_same_listener)
{
	struct inn twin = {.listener = fcntl(inn.listener, F_DUPFD_CLOEXEC, 0),
			   .name = inn.name};
	struct guest guest = park();
	serve_at(&twin, guest, 4711);
	close(twin.listener);
}
END_TEST

/* ---- the program's epoll sets ---- */

static int open_set(void)
{
	int set = epoll_create1(EPOLL_CLOEXEC);
	ck_assert_int_ge(set, 0);
	return set;
}

/* What the program does, and what the library makes of it. */
static void control(int set, int op, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.u64 = DATA};
	ck_assert_int_eq(epoll_ctl(set, op, inn.listener, &event), 0);
	tp_sets_note(set, op, inn.listener, &event);
	tp_room_mirror(inn.listener, set, op, &event);
}

static struct guest park_in_set(bool search)
{
	struct guest guest = arrive(&inn, NULL, 0);
	ck_assert_int_eq(tp_park(&policy, inn.listener, &guest.connection, search),
			 TP_PARKED_IN_SET);
	return guest;
}

/* The events that the program is told of, in so many ms; only its own. */
static uint32_t awaited(int set, int ms)
{
	struct epoll_event event = {0};
	if (epoll_wait(set, &event, 1, ms) != 1)
		return 0;
	ck_assert_uint_eq(event.data.u64, DATA);
	return event.events;
}

static void send_and_settle(struct guest guest, unsigned port)
{
	send_header(guest.client, port);
	await_event(room(), POLLIN);
}

static void finish(int set, struct guest guest)
{
	struct tp_connection connection = take_at(&inn);
	leave(guest, &connection);
	ck_assert_uint_eq(members(set), 1);
	ck_assert_uint_eq(awaited(set, 0), 0);
	control(set, EPOLL_CTL_DEL, 0);
	ck_assert_uint_eq(members(set), 0);
	close(set);
}

START_TEST(level_triggered_set_is_told_until_the_connection_is_taken)
{
	int set = open_set();
	control(set, EPOLL_CTL_ADD, EPOLLIN | (_i ? EPOLLEXCLUSIVE : 0));
	struct guest guest = park_in_set(false);
	ck_assert_uint_eq(awaited(set, 0), 0);
	send_and_settle(guest, 4711);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(awaited(set, 0), EPOLLIN);
	finish(set, guest);
}
END_TEST

START_TEST(edge_triggered_set_is_told_once_of_each)
{
	int set = open_set();
	control(set, EPOLL_CTL_ADD, EPOLLIN | EPOLLET);
	struct guest first = park_in_set(false), second = park_in_set(false);
	while (awaited(set, 0)) /* the kernel may tell of the room itself */
		take_none();
	send_and_settle(first, 4711);
	ck_assert_uint_eq(awaited(set, PATIENCE_MS), EPOLLIN);
	ck_assert_uint_eq(awaited(set, 0), 0);
	struct tp_connection connection = take_at(&inn);
	leave(first, &connection);
	take_none(); /* as servers do: until there is nothing left */
	send_and_settle(second, 4712);
	ck_assert_uint_eq(awaited(set, PATIENCE_MS), EPOLLIN);
	ck_assert_uint_eq(awaited(set, 0), 0);
	finish(set, second);
}
END_TEST

START_TEST(one_shot_set_is_told_once_until_it_is_armed_again)
{
	int set = open_set();
	control(set, EPOLL_CTL_ADD, EPOLLIN | EPOLLONESHOT);
	struct guest guest = park_in_set(false);
	send_and_settle(guest, 4711);
	ck_assert_uint_eq(awaited(set, PATIENCE_MS), EPOLLIN);
	ck_assert_uint_eq(awaited(set, 0), 0);
	control(set, EPOLL_CTL_MOD, EPOLLIN | EPOLLONESHOT);
	ck_assert_uint_eq(awaited(set, PATIENCE_MS), EPOLLIN);
	ck_assert_uint_eq(awaited(set, 0), 0);
	finish(set, guest);
}
END_TEST

/* nginx and libuv take their listener out and put it back. */
START_TEST(room_leaves_the_set_and_comes_back_with_the_listener)
{
	int set = open_set();
	control(set, EPOLL_CTL_ADD, EPOLLIN);
	struct guest guest = park_in_set(false);
	send_and_settle(guest, 4711);
	if (_i)
		control(set, EPOLL_CTL_MOD, 0);
	else
		control(set, EPOLL_CTL_DEL, 0);
	ck_assert_uint_eq(awaited(set, 0), 0);
	ck_assert_uint_eq(members(set), _i ? 2 : 0);
	control(set, _i ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, EPOLLIN);
	ck_assert_uint_eq(awaited(set, 0), EPOLLIN);
	finish(set, guest);
}
END_TEST

START_TEST(every_set_that_holds_the_listener_is_told)
{
	int first = open_set(), second = open_set();
	control(first, EPOLL_CTL_ADD, EPOLLIN);
	control(second, EPOLL_CTL_ADD, EPOLLIN);
	struct guest guest = park_in_set(false);
	send_and_settle(guest, 4711);
	ck_assert_uint_eq(awaited(first, 0), EPOLLIN);
	ck_assert_uint_eq(awaited(second, 0), EPOLLIN);
	control(first, EPOLL_CTL_DEL, 0);
	close(first);
	finish(second, guest);
}
END_TEST

/* Inherited ones, and such that a raw system call filled. */
START_TEST(set_that_nobody_saw_is_found)
{
	int set = open_set();
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = DATA};
	ck_assert_int_eq(epoll_ctl(set, EPOLL_CTL_ADD, inn.listener, &event), 0);
	struct guest unseen = park();
	serve(unseen, 4711);
	struct guest guest = park_in_set(true);
	send_and_settle(guest, 4712);
	ck_assert_uint_eq(awaited(set, 0), EPOLLIN);
	finish(set, guest);
}
END_TEST

/* A note that does not hold any more: the number is another set's. */
START_TEST(set_that_does_not_hold_the_listener_is_left_alone)
{
	struct program program;
	int set = open_set();
	open_program(&program);
	control(set, EPOLL_CTL_ADD, EPOLLIN);
	ck_assert_int_eq(dup2(program.set, set), set);
	serve(park(), 4711);
	ck_assert(is_untouched(&program));
	ck_assert_uint_eq(members(set), 1);
	close(set);
	close_program(&program);
}
END_TEST

/* The deadline works while the program sleeps in epoll_wait. */
START_TEST(set_is_told_of_the_deadline)
{
	int set = open_set();
	control(set, EPOLL_CTL_ADD, EPOLLIN);
	struct guest guest = park_in_set(false);
	advance(TIMEOUT_MS - 1);
	ck_assert_uint_eq(awaited(set, 0), 0);
	advance(1);
	ck_assert_uint_eq(awaited(set, 0), EPOLLIN);
	take_none();
	goes_by_reset(guest);
	ck_assert_uint_eq(awaited(set, 0), 0);
	close(set);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("room");
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, nobody_costs_nothing);
	tcase_add_test(tcase, client_is_handed_over_with_its_header);
	tcase_add_test(tcase, crowd_is_handed_over_in_any_order);
	tcase_add_test(tcase, dripping_client_is_handed_over_at_its_last_byte);
	tcase_add_test(tcase, words_behind_the_header_are_the_programs);
	tcase_add_table(tcase, what_is_no_header_is_refused_unless_it_is_optional,
			refusals);
	tcase_add_loop_test(tcase, client_that_leaves_is_gone_at_once, 0, 2);
	tcase_add_loop_test(tcase, low_water_mark_is_put_back, 0, 2);
	tcase_add_test(tcase,
		       header_that_the_kernel_cannot_hold_wakes_nobody_for_nothing);
	tcase_add_test(tcase, silent_client_is_reset_at_its_deadline);
	tcase_add_test(tcase, dripping_client_is_reset_at_its_deadline);
	tcase_add_test(
		tcase,
		silent_client_is_handed_over_at_its_deadline_where_headers_are_optional);
	tcase_add_table(tcase, each_has_a_deadline_of_its_own, timeouts);
	tcase_add_test(tcase, header_and_deadline_may_come_together);
	tcase_add_test(tcase, deadline_is_kept_beside_a_crowd_that_is_ready);
	tcase_add_test(tcase, whoever_has_waited_longest_goes_when_there_are_too_many);
	tcase_add_test(tcase, late_comer_to_an_early_place_does_not_go_first);
	tcase_add_test(tcase, time_with_others_counts);
	tcase_add_test(tcase, who_has_waited_longest_drives_nobody_out);
	tcase_add_test(tcase, no_more_wait_than_a_quarter_of_the_descriptors);
	tcase_add_test(tcase, parked_connection_is_out_of_the_way);
	tcase_add_test(tcase, select_gets_low_numbers_beside_a_crowd);
	tcase_add_test(tcase, everything_is_closed_on_exec);
	tcase_add_test(tcase, connection_is_parked_where_nothing_is_out_of_the_way);
	tcase_add_loop_test(tcase, connection_stays_the_callers_where_there_is_no_room, 0,
			    2);
	tcase_add_loop_test(tcase, what_the_program_has_put_in_its_place_is_not_touched,
			    0, VICTIMS * USURPERS * (int)COUNT(happenings));
	tcase_add_test(tcase, program_may_close_all_descriptors);
	tcase_add_test(tcase, forked_child_drops_its_copies);
	tcase_add_test(tcase, child_learns_that_it_has_copies);
	tcase_add_test(tcase, child_has_rooms_of_its_own);
#ifndef __SANITIZE_THREAD__
	tcase_add_test(tcase, child_of_vfork_knows_that_it_borrows);
#endif
	tcase_add_test(tcase, listeners_are_not_mixed_up);
	tcase_add_test(tcase, listener_takes_its_own_along_when_it_goes);
	tcase_add_test(tcase, dup_of_a_listener_is_the_same_listener);
	tcase_add_loop_test(
		tcase, level_triggered_set_is_told_until_the_connection_is_taken, 0, 2);
	tcase_add_test(tcase, edge_triggered_set_is_told_once_of_each);
	tcase_add_test(tcase, one_shot_set_is_told_once_until_it_is_armed_again);
	tcase_add_loop_test(tcase, room_leaves_the_set_and_comes_back_with_the_listener,
			    0, 2);
	tcase_add_test(tcase, every_set_that_holds_the_listener_is_told);
	tcase_add_test(tcase, set_that_nobody_saw_is_found);
	tcase_add_test(tcase, set_that_does_not_hold_the_listener_is_left_alone);
	tcase_add_test(tcase, set_is_told_of_the_deadline);
	return run_tests("room", tcase);
}
