/* SPDX-License-Identifier: MIT */
#include "environ.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "secure.h"
#include "unit.h"

#define THREADS 8

static size_t count(const char *const *variables)
{
	size_t n = 0;
	while (variables[n])
		n++;
	return n;
}

static bool contains(const char *const *variables, const char *variable)
{
	for (; *variables; variables++)
		if (!strcmp(*variables, variable))
			return true;
	return false;
}

static char **original;

static void set_up(void)
{
	original = environ;
}

static void tear_down(void)
{
	environ = original;
}

static void set_environ(char *const *variables)
{
	environ = (char **)variables;
}

START_TEST(only_our_variables_are_copied)
{
	static char *const variables[] = {
		"PATH=/bin",	      "TRUEPEER_TRUST=10.0.0.0/8",
		"TRUEPEER_",	      "XTRUEPEER_A=b",
		"TRUEPEERX=y",	      "",
		"TRUEPEER_EMPTY=",    "truepeer_trust=x",
		"TRUEPEER_LOG=a=b=c", NULL};
	set_environ(variables);
	const char *const *copies = tp_environ();
	ck_assert(contains(copies, "TRUEPEER_TRUST=10.0.0.0/8"));
	ck_assert(contains(copies, "TRUEPEER_EMPTY="));
	ck_assert(contains(copies, "TRUEPEER_LOG=a=b=c"));
	for (; *copies; copies++)
		ck_assert_int_eq(
			strncmp(*copies, TP_ENVIRON_PREFIX, strlen(TP_ENVIRON_PREFIX)),
			0);
}
END_TEST

START_TEST(the_order_is_kept)
{
	static char *const variables[] = {"TRUEPEER_A=1", "TRUEPEER_B=2", "TRUEPEER_A=3",
					  NULL};
	set_environ(variables);
	const char *const *copies = tp_environ();
	ck_assert_uint_eq(count(copies), 3);
	ck_assert_str_eq(copies[0], "TRUEPEER_A=1");
	ck_assert_str_eq(copies[2], "TRUEPEER_A=3");
}
END_TEST

START_TEST(without_an_environment_there_are_none)
{
	static char *const none[] = {NULL};
	set_environ(_i ? none : NULL);
	ck_assert_ptr_nonnull(tp_environ());
	ck_assert_ptr_null(*tp_environ());
}
END_TEST

START_TEST(a_program_may_overwrite_its_environment)
{
	static char trust[] = "TRUEPEER_TRUST=127.0.0.1";
	static char *variables[] = {trust, NULL};
	set_environ(variables);
	tp_environ_capture();
	memset(trust, 'x', sizeof trust - 1);
	variables[0] = NULL;
	ck_assert_str_eq(*tp_environ(), "TRUEPEER_TRUST=127.0.0.1");
	set_environ(NULL);
	ck_assert_str_eq(*tp_environ(), "TRUEPEER_TRUST=127.0.0.1");
}
END_TEST

START_TEST(what_is_set_later_is_not_seen)
{
	static char *const before[] = {"TRUEPEER_A=1", NULL}, *const after[] = {
								      "TRUEPEER_B=2",
								      NULL};
	set_environ(_i ? before : before + 1);
	tp_environ_capture();
	set_environ(after);
	tp_environ_capture();
	ck_assert_uint_eq(count(tp_environ()), (size_t)_i);
	ck_assert(!contains(tp_environ(), "TRUEPEER_B=2"));
}
END_TEST

START_TEST(a_long_environment_is_copied)
{
	static char texts[2000][256], *variables[2001];
	for (size_t i = 0; i < COUNT(texts); i++) {
		memcpy(texts[i], "TRUEPEER_", 9);
		memset(texts[i] + 9, 'a' + (int)(i % 26), i % 200);
		variables[i] = texts[i];
	}
	set_environ(variables);
	const char *const *copies = tp_environ();
	ck_assert_uint_eq(count(copies), COUNT(texts));
	for (size_t i = 0; i < COUNT(texts); i++)
		ck_assert_str_eq(copies[i], texts[i]);
}
END_TEST

START_TEST(errno_is_kept_by_environ)
{
	errno = 4711;
	tp_environ_capture();
	tp_environ();
	ck_assert_int_eq(errno, 4711);
}
END_TEST

START_TEST(secure_execution_believes_no_variable)
{
	static char *const variables[] = {"TRUEPEER_TRUST=all",
					  "LD_PRELOAD=libtruepeer.so", NULL};
	secure_execution = true;
	set_environ(variables);
	ck_assert(!tp_environ_is_trusted());
	ck_assert_ptr_null(*tp_environ());
	ck_assert(!tp_environ_has("TRUST"));
	ck_assert(!tp_environ_asks());
}
END_TEST

START_TEST(a_variable_is_found_by_its_name)
{
	static char *const variables[] = {"TRUEPEER_TRUST=10.0.0.1",
					  "TRUEPEER_LOG=", "HEADER=optional", NULL};
	set_environ(variables);
	ck_assert(tp_environ_is_trusted());
	ck_assert(tp_environ_has("TRUST") && tp_environ_has("LOG"));
	ck_assert(!tp_environ_has("TRUS") && !tp_environ_has("TRUST=10.0.0.1"));
	ck_assert(!tp_environ_has("HEADER") && !tp_environ_has(""));
}
END_TEST

static const struct {
	const char *variable;
	bool asks;
} askers[] = {
	{"TRUEPEER_LOG=none", true},
	{"LD_PRELOAD=/usr/lib/truepeer/libtruepeer.so", true},
	{"LD_PRELOAD=a.so:libtruepeer.so b.so", true},
	{"LD_PRELOAD=libjemalloc.so", false},
	{"LD_PRELOAD=", false},
	{"OLD_LD_PRELOAD=libtruepeer.so", false},
	{"PATH=/usr/lib/truepeer", false},
};

START_TEST(somebody_asks_for_the_library_or_it_is_just_there)
{
	static char *variables[2];
	variables[0] = (char *)askers[_i].variable;
	set_environ(variables);
	ck_assert(tp_environ_asks() == askers[_i].asks);
}
END_TEST

static void *look(void *argument)
{
	pthread_barrier_wait(argument);
	return (void *)tp_environ();
}

START_TEST(all_threads_see_the_same)
{
	static char *const variables[] = {"TRUEPEER_A=1", NULL};
	pthread_t threads[THREADS];
	pthread_barrier_t barrier;
	set_environ(variables);
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, look, &barrier), 0);
	for (int i = 0; i < THREADS; i++) {
		void *seen;
		pthread_join(threads[i], &seen);
		ck_assert_ptr_eq(seen, tp_environ());
	}
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("environ");
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_test(tcase, only_our_variables_are_copied);
	tcase_add_test(tcase, the_order_is_kept);
	tcase_add_loop_test(tcase, without_an_environment_there_are_none, 0, 2);
	tcase_add_test(tcase, a_program_may_overwrite_its_environment);
	tcase_add_loop_test(tcase, what_is_set_later_is_not_seen, 0, 2);
	tcase_add_test(tcase, a_long_environment_is_copied);
	tcase_add_test(tcase, errno_is_kept_by_environ);
	tcase_add_test(tcase, all_threads_see_the_same);
	tcase_add_test(tcase, secure_execution_believes_no_variable);
	tcase_add_test(tcase, a_variable_is_found_by_its_name);
	tcase_add_table(tcase, somebody_asks_for_the_library_or_it_is_just_there, askers);
	return run_tests("environ", tcase);
}
