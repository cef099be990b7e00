/* SPDX-License-Identifier: MIT */
#include "peer_table.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit.h"

#define MANY 30000  /* connections, some sweeps' worth */
#define BOUND 16384 /* entries there may be when only a few sockets are open */
#define LIVE 100
#define THREADS 4
#ifndef __SANITIZE_THREAD__
#define ROUNDS 6000
#else /* a sweep takes so long that others fill the table meanwhile */
#define ROUNDS 1800
#endif

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* A peer that no other number has. */
static struct tp_peer peer_of(uint64_t number)
{
	struct tp_peer peer;
	uint8_t *bytes = (uint8_t *)&peer;
	for (size_t i = 0; i < sizeof peer; i += sizeof number) {
		size_t left = sizeof peer - i;
		memcpy(bytes + i, &number, left < sizeof number ? left : sizeof number);
		number = number * 0x9e3779b97f4a7c15u + 1;
	}
	return peer;
}

static bool put(int fd, uint64_t number)
{
	struct tp_peer peer = peer_of(number);
	return tp_peer_table_put(fd, &peer);
}

static bool holds(int fd, uint64_t number)
{
	struct tp_peer peer, expected = peer_of(number);
	return tp_peer_table_get(fd, &peer) && !memcmp(&peer, &expected, sizeof peer);
}

static bool holds_nothing(int fd)
{
	struct tp_peer peer;
	return !tp_peer_table_get(fd, &peer);
}

static void assert_child_is_content(pid_t pid)
{
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Puts and closes so many sockets that gone ones have to be swept out. */
static void churn(uint64_t number, int sockets)
{
	for (int i = 0; i < sockets; i++) {
		int fd = new_socket();
		ck_assert(put(fd, number + (uint64_t)i));
		ck_assert(holds(fd, number + (uint64_t)i));
		close(fd);
	}
}

/* Which makes for a small table, and quick sweeps. */
static void allow_few_descriptors(void)
{
	const struct rlimit limit = {1024, 1024};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

START_TEST(an_empty_table_holds_nothing)
{
	int fd = new_socket();
	ck_assert_uint_eq(tp_peer_table_count(), 0);
	ck_assert(holds_nothing(fd));
	close(fd);
}
END_TEST

START_TEST(a_socket_finds_its_own_record)
{
	int one = new_socket(), other = new_socket(), third = new_socket();
	ck_assert(put(one, 1));
	ck_assert(put(other, 2));
	ck_assert_uint_eq(tp_peer_table_count(), 2);
	ck_assert(holds(one, 1));
	ck_assert(holds(other, 2));
	ck_assert(holds_nothing(third));
}
END_TEST

START_TEST(what_has_no_cookie_is_not_kept)
{
	int file = open("/dev/null", O_RDWR);
	ck_assert(!put(file, 1));
	ck_assert(!put(-1, 1));
	ck_assert(holds_nothing(file));
	ck_assert(holds_nothing(-1));
	ck_assert_uint_eq(tp_peer_table_count(), 0);
}
END_TEST

START_TEST(the_last_record_of_a_socket_counts)
{
	int fd = new_socket();
	ck_assert(put(fd, 1));
	ck_assert(put(fd, 2));
	ck_assert(holds(fd, 2));
	ck_assert_uint_eq(tp_peer_table_count(), 1);
}
END_TEST

START_TEST(a_new_socket_under_an_old_number_holds_nothing)
{
	int fd = new_socket();
	ck_assert(put(fd, 1));
	close(fd);
	int again = new_socket();
	ck_assert_int_eq(again, fd);
	ck_assert(holds_nothing(again));
}
END_TEST

START_TEST(a_duplicate_keeps_the_record)
{
	int fd = new_socket(), other = dup(fd);
	ck_assert(put(fd, 1));
	close(fd);
	ck_assert(holds(other, 1));
	churn(2, MANY);
	ck_assert(holds(other, 1));
}
END_TEST

START_TEST(gone_sockets_are_swept_out)
{
	size_t most = 0;
	for (int i = 0; i < MANY / 100; i++) {
		churn((uint64_t)i * 100, 100);
		size_t now = tp_peer_table_count();
		most = now > most ? now : most;
	}
	ck_assert_uint_le(most, BOUND);
	ck_assert_uint_ge(most, 100);
}
END_TEST

START_TEST(live_sockets_stay_across_sweeps)
{
	int live[LIVE];
	for (int i = 0; i < LIVE; i++) {
		live[i] = new_socket();
		ck_assert(put(live[i], 1000000 + (uint64_t)i));
		churn((uint64_t)i * MANY, MANY / LIVE);
	}
	for (int i = 0; i < LIVE; i++)
		ck_assert(holds(live[i], 1000000 + (uint64_t)i));
	for (int round = 0; round < 3; round++) {
		churn((uint64_t)(LIVE + round) * MANY, MANY);
		for (int i = 0; i < LIVE; i++)
			ck_assert(holds(live[i], 1000000 + (uint64_t)i));
	}
}
END_TEST

START_TEST(many_live_sockets_are_all_kept)
{
	struct rlimit limit;
	static int live[15000];
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	size_t count =
		limit.rlim_cur < COUNT(live) + 100 ? limit.rlim_cur - 100 : COUNT(live);
	for (size_t i = 0; i < count; i++) {
		live[i] = new_socket();
		ck_assert(put(live[i], i));
	}
	ck_assert_uint_eq(tp_peer_table_count(), count);
	for (size_t i = 0; i < count; i++)
		ck_assert(holds(live[i], i));
}
END_TEST

START_TEST(a_busy_server_does_not_run_out_of_room)
{
	int live[500];
	allow_few_descriptors();
	for (size_t i = 0; i < COUNT(live); i++) {
		live[i] = new_socket();
		ck_assert(put(live[i], i));
	}
	for (int round = 0; round < 8; round++) {
		churn((uint64_t)round * MANY + COUNT(live), MANY);
		ck_assert_uint_le(tp_peer_table_count(), BOUND);
	}
	for (size_t i = 0; i < COUNT(live); i++)
		ck_assert(holds(live[i], i));
}
END_TEST

START_TEST(a_child_goes_on_with_a_copy)
{
	int one = new_socket(), other = new_socket();
	ck_assert(put(one, 1));
	pid_t pid = fork();
	if (!pid)
		_exit(holds(one, 1) && put(other, 2) && holds(other, 2) ? 0 : 1);
	assert_child_is_content(pid);
	ck_assert(holds(one, 1));
	ck_assert(holds_nothing(other));
}
END_TEST

START_TEST(a_child_sweeps_for_itself)
{
	int fd = new_socket();
	ck_assert(put(fd, 1));
	churn(2, MANY / 8);
	pid_t pid = fork();
	if (!pid) {
		for (int i = 0; i < MANY; i++) {
			int passing = socket(AF_UNIX, SOCK_STREAM, 0);
			if (!put(passing, (uint64_t)i) || close(passing))
				_exit(1);
		}
		_exit(holds(fd, 1) && tp_peer_table_count() <= BOUND ? 0 : 1);
	}
	assert_child_is_content(pid);
	ck_assert(holds(fd, 1));
}
END_TEST

/* ---- threads ---- */

struct worker {
	pthread_t thread;
	uint64_t number; /* the first of its own */
	int shared;	 /* a socket that all look up */
	bool content;
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	int kept = socket(AF_UNIX, SOCK_STREAM, 0);
	worker->content = put(kept, worker->number);
	for (uint64_t i = 1; i < ROUNDS && worker->content; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		worker->content = holds_nothing(fd) && put(fd, worker->number + i) &&
				  holds(fd, worker->number + i) &&
				  holds(kept, worker->number) &&
				  holds(worker->shared, 1) && !close(fd);
	}
	close(kept);
	return NULL;
}

START_TEST(threads_do_not_disturb_one_another)
{
	struct worker workers[THREADS];
	int shared = new_socket();
	allow_few_descriptors();
	ck_assert(put(shared, 1));
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.number = 1000000u * (uint64_t)(i + 1),
					     .shared = shared};
		ck_assert_int_eq(
			pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (int i = 0; i < THREADS; i++)
		ck_assert(workers[i].content);
	ck_assert_uint_le(tp_peer_table_count(), BOUND);
}
END_TEST

START_TEST(threads_make_one_table)
{
	struct worker workers[THREADS];
	int shared = new_socket();
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.number = 1000000u * (uint64_t)(i + 1),
					     .shared = shared};
		ck_assert_int_eq(
			pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	/* Nobody put the shared one: each has stopped there, with two of its own kept. */
	ck_assert_uint_eq(tp_peer_table_count(), 2 * THREADS);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("peer_table");
	tcase_add_test(tcase, an_empty_table_holds_nothing);
	tcase_add_test(tcase, a_socket_finds_its_own_record);
	tcase_add_test(tcase, what_has_no_cookie_is_not_kept);
	tcase_add_test(tcase, the_last_record_of_a_socket_counts);
	tcase_add_test(tcase, a_new_socket_under_an_old_number_holds_nothing);
	tcase_add_test(tcase, a_duplicate_keeps_the_record);
	tcase_add_test(tcase, gone_sockets_are_swept_out);
	tcase_add_test(tcase, live_sockets_stay_across_sweeps);
	tcase_add_test(tcase, many_live_sockets_are_all_kept);
	tcase_add_test(tcase, a_busy_server_does_not_run_out_of_room);
	tcase_add_test(tcase, a_child_goes_on_with_a_copy);
	tcase_add_test(tcase, a_child_sweeps_for_itself);
	tcase_add_test(tcase, threads_do_not_disturb_one_another);
	tcase_add_test(tcase, threads_make_one_table);
	return run_tests("peer_table", tcase);
}
