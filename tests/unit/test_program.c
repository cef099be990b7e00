/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "secure.h"
#include "unit.h"

#define AFTER_EXEC "--tell-names"
#define LINK "link-to-test-program"

static bool has(const struct tp_program *program, const char *name)
{
	for (const char *const *at = program->names; *at; at++)
		if (!strcmp(*at, name))
			return true;
	return false;
}

START_TEST(a_program_has_the_name_of_its_file)
{
	struct tp_program program;
	secure_execution = _i;
	tp_program_identify(&program);
	ck_assert(has(&program, "test_program"));
}
END_TEST

START_TEST(what_a_program_calls_itself_means_nothing)
{
	struct tp_program program;
	ck_assert_int_eq(prctl(PR_SET_NAME, "another"), 0);
	tp_program_identify(&program);
	ck_assert(!has(&program, "another"));
	ck_assert(has(&program, "test_program"));
}
END_TEST

/* Started by a link, with another argv[0]. */
static int tell_names(bool secure)
{
	struct tp_program program;
	secure_execution = secure;
	tp_program_identify(&program);
	bool right = has(&program, "test_program") && has(&program, LINK) != secure &&
		     !has(&program, "argument");
	return right ? EXIT_SUCCESS : EXIT_FAILURE;
}

START_TEST(a_program_has_the_name_of_its_link_unless_it_is_the_callers_choice)
{
	char folder[] = "/tmp/truepeer.XXXXXX", link[64];
	int status;
	ck_assert_ptr_nonnull(mkdtemp(folder));
	strcat(strcat(strcpy(link, folder), "/"), LINK);
	char target[4096] = "";
	ck_assert_int_gt(readlink("/proc/self/exe", target, sizeof target - 1), 0);
	ck_assert_int_eq(symlink(target, link), 0);
	pid_t pid = fork();
	if (!pid) {
		execl(link, "argument", AFTER_EXEC, _i ? "secure" : NULL, NULL);
		_exit(EXIT_FAILURE);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	unlink(link);
	rmdir(folder);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
}
END_TEST

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], AFTER_EXEC))
		return tell_names(argc > 2);
	TCase *tcase = tcase_create("program");
	tcase_add_loop_test(tcase, a_program_has_the_name_of_its_file, 0, 2);
	tcase_add_test(tcase, what_a_program_calls_itself_means_nothing);
	tcase_add_loop_test(
		tcase, a_program_has_the_name_of_its_link_unless_it_is_the_callers_choice,
		0, 2);
	return run_tests("program", tcase);
}
