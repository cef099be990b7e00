/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stats_file.h"
#include "unit.h"

#define PROCESSES 8
#define TIMES 20000

static char folder[] = "/tmp/test_stats.XXXXXX";
static char path[64], elsewhere[64];

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/stats", folder);
	snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", folder);
}

static void tear_down(void)
{
	unlink(path);
	unlink(elsewhere);
	rmdir(path);
	ck_assert_int_eq(rmdir(folder), 0); /* nothing temporary is left */
}

static const char *open_stats(bool create)
{
	return tp_stats_open(path, strlen(path), create);
}

/* As another process would. */
static const char *open_again(bool create)
{
	atomic_store(&tp_stats_mapped, NULL);
	return open_stats(create);
}

static struct tp_addr addr(uint8_t last, uint16_t port)
{
	return (struct tp_addr){.family = AF_INET, .port = port, .ip = {192, 0, 2, last}};
}

/* What the file holds, in a buffer that lasts until the next call. */
static const struct tp_stats_file *content(void)
{
	static struct tp_stats_file file;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(read(fd, &file, sizeof file), (ssize_t)sizeof file);
	close(fd);
	return &file;
}

static void count_client(unsigned place)
{
	tp_stats_count(place, TP_OUTCOME_PROXIED, TP_REASON_NONE);
}

static uint64_t clients(unsigned place)
{
	return content()->listeners[place].connections[TP_OUTCOME_PROXIED]
						      [TP_REASON_NONE];
}

static void write_file(const void *bytes, size_t len, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

/* Runs body in that many processes at once. */
static void run_at_once(int processes, void (*body)(void))
{
	for (int i = 0; i < processes; i++) {
		if (!fork()) {
			body();
			_exit(0);
		}
	}
	for (int i = 0; i < processes; i++) {
		int status;
		ck_assert_int_gt(wait(&status), 0);
		ck_assert_int_eq(status, 0);
	}
}

/* ---- the file ---- */

START_TEST(a_file_is_made_whole)
{
	struct stat st;
	umask(077);
	ck_assert_ptr_null(open_stats(true));
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0644);
	ck_assert_uint_eq((uint64_t)st.st_size, sizeof(struct tp_stats_file));
	ck_assert_uint_ge((uint64_t)st.st_blocks * 512, sizeof(struct tp_stats_file));
	ck_assert_mem_eq(content()->head.magic, "truepeer", 8);
	ck_assert_uint_eq(content()->head.version, TP_STATS_VERSION);
	ck_assert_uint_eq(content()->head.size, sizeof(struct tp_stats_file));
}
END_TEST

START_TEST(no_file_is_made_unless_asked_for)
{
	ck_assert_ptr_nonnull(open_stats(false));
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert(!tp_stats_on());
}
END_TEST

START_TEST(no_descriptor_stays_open)
{
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(before);
	ck_assert_ptr_null(open_stats(true));
	ck_assert_ptr_null(open_again(true));
	int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(after);
	ck_assert_int_eq(before, after);
}
END_TEST

START_TEST(counters_outlive_the_server)
{
	const struct tp_addr listener = addr(1, 25);
	ck_assert_ptr_null(open_stats(true));
	count_client(tp_stats_place(&listener));
	ck_assert_ptr_null(open_again(_i));
	count_client(tp_stats_place(&listener));
	ck_assert_uint_eq(clients(tp_stats_place(&listener)), 2);
}
END_TEST

START_TEST(without_a_file_nothing_happens)
{
	const struct tp_addr listener = addr(1, 25);
	ck_assert(!tp_stats_on());
	ck_assert_uint_eq(tp_stats_place(&listener), 0);
	count_client(0);
	tp_stats_count_wait(0, 5);
	tp_stats_count_parked(5000, 1);
}
END_TEST

static void make_fifo(void)
{
	ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void make_folder(void)
{
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void make_empty(void)
{
	write_file("", 0, 0644);
}

static void make_foreign(void)
{
	static const char letters[sizeof(struct tp_stats_file)] = "somebody's letters";
	write_file(letters, sizeof letters, 0644);
}

static void make_ours(mode_t mode, uint32_t version, size_t len)
{
	static const struct tp_stats_file empty;
	struct tp_stats_file file = empty;
	memcpy(file.head.magic, TP_STATS_MAGIC, sizeof file.head.magic);
	file.head.version = version;
	file.head.size = sizeof file;
	write_file(&file, len, mode);
}

/* To a file that would be right. */
static void make_link(void)
{
	make_ours(0644, TP_STATS_VERSION, sizeof(struct tp_stats_file));
	ck_assert_int_eq(rename(path, elsewhere), 0);
	ck_assert_int_eq(symlink(elsewhere, path), 0);
}

static void make_short(void)
{
	make_ours(0644, TP_STATS_VERSION, sizeof(struct tp_stats_file) - 1);
}

static void make_head(void)
{
	make_ours(0644, TP_STATS_VERSION, 16);
}

static void make_group_writable(void)
{
	make_ours(0664, TP_STATS_VERSION, sizeof(struct tp_stats_file));
}

static void make_world_writable(void)
{
	make_ours(0646, TP_STATS_VERSION, sizeof(struct tp_stats_file));
}

static void make_strangers(void)
{
	make_ours(0644, TP_STATS_VERSION, sizeof(struct tp_stats_file));
	if (chown(path, 65534, 65534)) /* not root: a folder will do */
		unlink(path), make_folder();
}

static void (*const spoilers[])(void) = {
	make_link,	     make_fifo,		  make_folder,
	make_empty,	     make_foreign,	  make_short,
	make_group_writable, make_world_writable, make_strangers,
};

START_TEST(a_file_of_a_wrong_kind_is_left_alone)
{
	struct stat before, after;
	spoilers[_i]();
	ck_assert_int_eq(lstat(path, &before), 0);
	ck_assert_ptr_nonnull(open_stats(true));
	ck_assert(!tp_stats_on());
	ck_assert_int_eq(lstat(path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
	ck_assert_int_eq(before.st_size, after.st_size);
	ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
}
END_TEST

START_TEST(the_right_file_is_not_refused)
{
	make_ours(0644, TP_STATS_VERSION, sizeof(struct tp_stats_file));
	ck_assert_ptr_null(open_stats(false));
	ck_assert(tp_stats_on());
}
END_TEST

START_TEST(a_file_of_another_version_is_replaced)
{
	struct stat before, after;
	if (_i)
		make_ours(0644, TP_STATS_VERSION + 1, sizeof(struct tp_stats_file));
	else
		make_head(); /* it is shorter, but says the size of this version */
	ck_assert_int_eq(stat(path, &before), 0);
	const char *reason = open_stats(false);
	ck_assert(!tp_stats_on());
	ck_assert_int_eq(!reason, _i);
	reason = open_stats(true);
	ck_assert_int_eq(!reason, _i);
	ck_assert_int_eq(tp_stats_on(), _i);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_int_eq(before.st_ino != after.st_ino, _i);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_told)
{
	char deep[80];
	snprintf(deep, sizeof deep, "%s/no/stats", folder);
	ck_assert_ptr_nonnull(tp_stats_open(deep, strlen(deep), true));
}
END_TEST

static void open_and_count(void)
{
	const struct tp_addr listener = addr(1, 25);
	if (open_stats(true))
		_exit(1);
	count_client(tp_stats_place(&listener));
}

/* Places of the same name may be there twice: readers add them up. */
static uint64_t sum_of_clients(void)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < TP_STATS_LISTENERS; i++)
		sum += clients(i);
	return sum;
}

START_TEST(processes_that_make_it_at_once_share_one)
{
	for (uint64_t round = 1; round <= 20; round++) {
		run_at_once(PROCESSES, open_and_count);
		ck_assert_uint_eq(sum_of_clients(), PROCESSES);
		unlink(path);
	}
}
END_TEST

/* ---- counting ---- */

START_TEST(each_listener_has_its_place)
{
	struct tp_addr names[] = {addr(1, 25), addr(1, 26), addr(2, 25), addr(1, 25)};
	names[3].family = AF_INET6;
	ck_assert_ptr_null(open_stats(true));
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < COUNT(names); i++)
			ck_assert_uint_eq(tp_stats_place(&names[i]), i);
	ck_assert_uint_eq(content()->listeners[1].port, 26);
	ck_assert_uint_eq(content()->listeners[3].family, 6);
	ck_assert_mem_eq(content()->listeners[2].ip, names[2].ip, 16);
}
END_TEST

START_TEST(too_many_listeners_share_the_last_place)
{
	ck_assert_ptr_null(open_stats(true));
	for (unsigned i = 0; i < 2 * TP_STATS_LISTENERS; i++) {
		const struct tp_addr listener = addr(1, (uint16_t)(1000 + i));
		unsigned place = tp_stats_place(&listener);
		ck_assert_uint_eq(place, i < TP_STATS_LISTENERS ? i : TP_STATS_LISTENERS);
		count_client(place);
	}
	ck_assert_uint_eq(clients(TP_STATS_LISTENERS), TP_STATS_LISTENERS);
}
END_TEST

START_TEST(a_socket_without_address_is_one_of_the_others)
{
	ck_assert_ptr_null(open_stats(true));
	ck_assert_uint_eq(tp_stats_place(&(struct tp_addr){0}), TP_STATS_LISTENERS);
}
END_TEST

START_TEST(a_place_whose_maker_died_half_way_is_passed_over)
{
	const struct tp_addr listener = addr(1, 25);
	ck_assert_ptr_null(open_stats(true));
	atomic_store(&atomic_load(&tp_stats_mapped)->listeners[0].state, TP_STATS_TAKEN);
	ck_assert_uint_eq(tp_stats_place(&listener), 1);
	ck_assert_uint_eq(tp_stats_place(&listener), 1);
}
END_TEST

static void count_often(void)
{
	const struct tp_addr mine = addr(1, 25), other = addr((uint8_t)getpid(), 26);
	for (int i = 0; i < TIMES; i++) {
		count_client(tp_stats_place(&mine));
		tp_stats_count(tp_stats_place(&other), TP_OUTCOME_REJECTED,
			       TP_REASON_PROBE);
		tp_stats_count_wait(tp_stats_place(&mine), 3);
		tp_stats_count_parked(1000000, 1);
	}
}

START_TEST(the_sum_over_processes_is_exact)
{
	uint64_t probes = 0, waits = 0, waited = 0;
	ck_assert_ptr_null(open_stats(true));
	run_at_once(PROCESSES, count_often);
	const struct tp_stats_file *file = content();
	for (unsigned i = 0; i < TP_STATS_LISTENERS; i++) {
		probes += file->listeners[i]
				  .connections[TP_OUTCOME_REJECTED][TP_REASON_PROBE];
		waits += file->listeners[i].waits[1];
		waited += file->listeners[i].waited_ms;
	}
	ck_assert_uint_eq(probes, PROCESSES * TIMES);
	ck_assert_uint_eq(waits, PROCESSES * TIMES);
	ck_assert_uint_eq(waited, 3 * PROCESSES * TIMES);
	ck_assert_uint_eq(file->parked[1000] & TP_STATS_COUNT_MASK, PROCESSES * TIMES);
	ck_assert_uint_eq(sum_of_clients(), PROCESSES * TIMES);
}
END_TEST

static const struct {
	int64_t ms;
	unsigned class;
} waits[] = {
	{0, 0},	   {1, 0},     {2, 1},	    {5, 1},	 {6, 2},	{1000, 8},
	{1001, 9}, {3000, 10}, {60000, 13}, {60001, 14}, {3600000, 14},
};

START_TEST(a_wait_is_counted_in_its_class)
{
	ck_assert_ptr_null(open_stats(true));
	tp_stats_count_wait(3, waits[_i].ms);
	const struct tp_stats_listener *place = &content()->listeners[3];
	for (unsigned class = 0; class < TP_STATS_CLASSES; class ++)
		ck_assert_uint_eq(place->waits[class], class == waits[_i].class);
	ck_assert_uint_eq(place->waited_ms, (uint64_t)waits[_i].ms);
}
END_TEST

START_TEST(counting_keeps_errno)
{
	const struct tp_addr listener = addr(1, 25);
	ck_assert_ptr_null(open_stats(true));
	errno = 4711;
	count_client(tp_stats_place(&listener));
	tp_stats_count_wait(0, 1);
	tp_stats_count_parked(5000, 1);
	ck_assert_int_eq(errno, 4711);
}
END_TEST

/* ---- parked ---- */

static uint64_t parked(size_t second)
{
	uint64_t entry = content()->parked[second % TP_STATS_SECONDS];
	return entry >> TP_STATS_COUNT_BITS == second ? entry & TP_STATS_COUNT_MASK : 0;
}

START_TEST(the_parked_are_counted_by_their_deadline)
{
	ck_assert_ptr_null(open_stats(true));
	tp_stats_count_parked(5999, 1);
	tp_stats_count_parked(5000, 1);
	tp_stats_count_parked(6000, 1);
	ck_assert_uint_eq(parked(5), 2);
	ck_assert_uint_eq(parked(6), 1);
	tp_stats_count_parked(5999, -1);
	tp_stats_count_parked(6000, -1);
	ck_assert_uint_eq(parked(5), 1);
	ck_assert_uint_eq(parked(6), 0);
}
END_TEST

START_TEST(what_a_process_left_behind_is_overwritten)
{
	const int64_t later = 5000 + 1000 * TP_STATS_SECONDS;
	ck_assert_ptr_null(open_stats(true));
	tp_stats_count_parked(5000, 1);
	tp_stats_count_parked(later, 1);
	ck_assert_uint_eq(parked(5), 0);
	ck_assert_uint_eq(parked(5 + TP_STATS_SECONDS), 1);
	tp_stats_count_parked(5000, -1); /* it was alive after all */
	ck_assert_uint_eq(parked(5 + TP_STATS_SECONDS), 1);
}
END_TEST

START_TEST(the_parked_of_an_earlier_boot_are_gone)
{
	ck_assert_ptr_null(open_stats(true));
	tp_stats_count_parked(5000, 1);
	ck_assert_ptr_null(open_again(true));
	ck_assert_uint_eq(parked(5), 1);
	atomic_fetch_add(&atomic_load(&tp_stats_mapped)->boot, 1);
	ck_assert_ptr_null(open_again(true));
	ck_assert_uint_eq(parked(5), 0);
}
END_TEST

static void add_file_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_file_is_made_whole);
	tcase_add_test(tcase, no_file_is_made_unless_asked_for);
	tcase_add_test(tcase, no_descriptor_stays_open);
	tcase_add_loop_test(tcase, counters_outlive_the_server, 0, 2);
	tcase_add_test(tcase, without_a_file_nothing_happens);
	tcase_add_table(tcase, a_file_of_a_wrong_kind_is_left_alone, spoilers);
	tcase_add_test(tcase, the_right_file_is_not_refused);
	tcase_add_loop_test(tcase, a_file_of_another_version_is_replaced, 0, 2);
	tcase_add_test(tcase, a_folder_that_is_not_there_is_told);
	tcase_add_test(tcase, processes_that_make_it_at_once_share_one);
}

static void add_counting_tests(TCase *tcase)
{
	tcase_add_test(tcase, each_listener_has_its_place);
	tcase_add_test(tcase, too_many_listeners_share_the_last_place);
	tcase_add_test(tcase, a_socket_without_address_is_one_of_the_others);
	tcase_add_test(tcase, a_place_whose_maker_died_half_way_is_passed_over);
	tcase_add_test(tcase, the_sum_over_processes_is_exact);
	tcase_add_table(tcase, a_wait_is_counted_in_its_class, waits);
	tcase_add_test(tcase, counting_keeps_errno);
}

static void add_parked_tests(TCase *tcase)
{
	tcase_add_test(tcase, the_parked_are_counted_by_their_deadline);
	tcase_add_test(tcase, what_a_process_left_behind_is_overwritten);
	tcase_add_test(tcase, the_parked_of_an_earlier_boot_are_gone);
}

int main(void)
{
	TCase *tcase = tcase_create("stats");
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	add_file_tests(tcase);
	add_counting_tests(tcase);
	add_parked_tests(tcase);
	return run_tests("stats", tcase);
}
