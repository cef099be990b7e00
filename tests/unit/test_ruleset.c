/* SPDX-License-Identifier: MIT */
#include "ruleset.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

static char folder[64], fixed[96], named[96], rules_variable[128];

static void make_folder(void)
{
	strcpy(folder, "/tmp/truepeer.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(fixed, sizeof fixed, "%s/fixed", folder);
	snprintf(named, sizeof named, "%s/named", folder);
	snprintf(rules_variable, sizeof rules_variable, "TRUEPEER_RULES=%s", named);
}

static void remove_folder(void)
{
	unlink(fixed);
	unlink(named);
	rmdir(folder);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(path, 0644), 0);
}

static struct tp_text told;

static void tell(void *context, const struct tp_mistake *mistake)
{
	(void)context;
	tp_mistake_put(&told, mistake);
	tp_text_put(&told, "|");
}

static struct tp_ruleset *read_with(const char *one, const char *two)
{
	const char *const variables[] = {one, one ? two : NULL, NULL};
	memset(&told, 0, sizeof told);
	struct tp_ruleset *ruleset = tp_ruleset_read(
		variables, NULL, fixed, (struct tp_mistake_sink){tell, NULL});
	ck_assert_ptr_nonnull(ruleset);
	ck_assert((ruleset->policy.state == TP_POLICY_BROKEN) == (told.len > 0));
	return ruleset;
}

/* The state, when it has been put into told what is wrong. */
static enum tp_policy_state state_with(const char *one, const char *two)
{
	struct tp_ruleset *ruleset = read_with(one, two);
	enum tp_policy_state state = ruleset->policy.state;
	tp_ruleset_free(ruleset);
	return state;
}

START_TEST(the_fixed_file_is_read_when_no_variable_makes_a_rule)
{
	write_file(fixed, "from 10.0.0.0/8\n");
	struct tp_ruleset *ruleset = read_with("TRUEPEER_LOG=none", NULL);
	ck_assert_int_eq(ruleset->policy.state, TP_POLICY_ON);
	ck_assert_str_eq(ruleset->file->path, fixed);
	ck_assert_uint_eq(ruleset->policy.rules[0].line, 1);
	ck_assert_int_eq(ruleset->policy.log.target, TP_LOG_NONE);
	tp_ruleset_free(ruleset);
	ruleset = read_with("TRUEPEER_TRUST=10.0.0.1", NULL);
	ck_assert_ptr_null(ruleset->file);
	ck_assert_uint_eq(ruleset->policy.rule_count, 1);
	ck_assert_uint_eq(ruleset->policy.rules[0].line, 0);
	tp_ruleset_free(ruleset);
}
END_TEST

START_TEST(without_a_fixed_file_nothing_is_touched)
{
	ck_assert_int_eq(state_with(NULL, NULL), TP_POLICY_OFF);
	ck_assert_int_eq(state_with("TRUEPEER_LOG=none", NULL), TP_POLICY_OFF);
}
END_TEST

START_TEST(the_fixed_file_closes_the_door_when_it_is_wrong)
{
	char expected[256];
	write_file(fixed, "from 10.0.0.0/8\n\nfrom 10.0.0.1/8\n");
	ck_assert_int_eq(state_with(NULL, NULL), TP_POLICY_BROKEN);
	snprintf(expected, sizeof expected, "%s:3: from: \"10.0.0.1/8\": bits", fixed);
	ck_assert_ptr_nonnull(strstr(told.text, expected));
	unlink(fixed);
	ck_assert_int_eq(mkdir(fixed, 0755), 0);
	ck_assert_int_eq(state_with(NULL, NULL), TP_POLICY_BROKEN);
	ck_assert_ptr_nonnull(strstr(told.text, fixed));
	rmdir(fixed);
}
END_TEST

START_TEST(the_fixed_file_has_to_be_root_s)
{
	if (getuid())
		return; /* only root can make such a file */
	write_file(fixed, "from 10.0.0.0/8\n");
	chmod(fixed, 0666);
	ck_assert_int_eq(state_with(NULL, NULL), TP_POLICY_BROKEN);
	char variable[128];
	snprintf(variable, sizeof variable, "TRUEPEER_RULES=%s", fixed);
	ck_assert_int_eq(state_with(variable, NULL), TP_POLICY_BROKEN);
	write_file(named, "from 10.0.0.0/8\n");
	chmod(named, 0666);
	ck_assert_int_eq(state_with(rules_variable, NULL), TP_POLICY_ON);
}
END_TEST

START_TEST(a_named_file_is_read_and_the_variables_rule_added)
{
	write_file(fixed, "nonsense");
	write_file(named, "from 10.0.0.0/8");
	struct tp_ruleset *ruleset = read_with(rules_variable, "TRUEPEER_TRUST=all");
	ck_assert_int_eq(ruleset->policy.state, TP_POLICY_ON);
	ck_assert_str_eq(ruleset->file->path, named);
	ck_assert_uint_eq(ruleset->policy.rule_count, 2);
	tp_ruleset_free(ruleset);
}
END_TEST

START_TEST(a_named_file_has_to_be_there)
{
	ck_assert_int_eq(state_with(rules_variable, "TRUEPEER_TRUST=all"),
			 TP_POLICY_BROKEN);
	ck_assert_ptr_nonnull(strstr(told.text, "TRUEPEER_RULES: \""));
	ck_assert_ptr_nonnull(strstr(told.text, named));
	ck_assert_int_eq(state_with("TRUEPEER_RULES=named", NULL), TP_POLICY_BROKEN);
	ck_assert_str_eq(told.text, "TRUEPEER_RULES: \"named\"; expected the absolute "
				    "path of a rules file|");
}
END_TEST

START_TEST(all_mistakes_are_told)
{
	write_file(named, "from x\nheader maybe\n");
	ck_assert_int_eq(state_with(rules_variable, "TRUEPEER_TIMEOUT=never"),
			 TP_POLICY_BROKEN);
	ck_assert_ptr_nonnull(strstr(told.text, ":1: from: \"x\""));
	ck_assert_ptr_nonnull(strstr(told.text, ":2: header: \"maybe\""));
	ck_assert_ptr_nonnull(strstr(told.text, "TRUEPEER_TIMEOUT: \"never\""));
}
END_TEST

START_TEST(a_long_word_is_cut_so_that_the_rest_is_told)
{
	char text[1024] = "from ";
	memset(text + strlen(text), 'x', 900);
	write_file(named, text);
	ck_assert_int_eq(state_with(rules_variable, NULL), TP_POLICY_BROKEN);
	ck_assert_ptr_nonnull(strstr(told.text, "xxx\"...: not an address"));
}
END_TEST

/* Here the file goes; elsewhere the program changes its root directory. */
static enum tp_policy_state state_when_it_was_kept(const char *path, const char *variable)
{
	const char *const variables[] = {variable, NULL};
	ck_assert(tp_ruleset_keep_file(variables, fixed));
	unlink(path);
	return state_with(variable, NULL);
}

START_TEST(a_file_that_comes_after_the_start_is_found)
{
	ck_assert(!tp_ruleset_keep_file((const char *const[]){NULL}, fixed));
	ck_assert(!tp_ruleset_keep_file((const char *const[]){rules_variable, NULL},
					fixed));
	write_file(fixed, "from 10.0.0.0/8\n");
	ck_assert_int_eq(state_with(NULL, NULL), TP_POLICY_ON);
}
END_TEST

START_TEST(a_file_that_was_kept_is_read_when_it_is_gone)
{
	write_file(fixed, "from 10.0.0.0/8\n");
	ck_assert_int_eq(state_when_it_was_kept(fixed, NULL), TP_POLICY_ON);
	ck_assert_int_eq(state_with(NULL, NULL), TP_POLICY_ON); /* again */
	write_file(named, "from 10.0.0.0/8\n");
	ck_assert_int_eq(state_when_it_was_kept(named, rules_variable), TP_POLICY_ON);
}
END_TEST

START_TEST(what_was_wrong_with_a_file_stays_wrong_when_it_is_gone)
{
	write_file(fixed, "from 10.0.0.0/8\n");
	chmod(fixed, 0666);
	ck_assert_int_eq(state_when_it_was_kept(fixed, NULL), TP_POLICY_BROKEN);
	ck_assert_ptr_nonnull(strstr(told.text, "may write to it"));
	write_file(named, "from x\n");
	ck_assert_int_eq(state_when_it_was_kept(named, rules_variable), TP_POLICY_BROKEN);
}
END_TEST

START_TEST(a_file_that_cannot_be_read_may_be_about_unix)
{
	struct tp_ruleset *ruleset = read_with(rules_variable, NULL);
	ck_assert(ruleset->policy.has_unix);
	tp_ruleset_free(ruleset);
	ruleset = read_with("TRUEPEER_TRUST=all", "TRUEPEER_TIMEOUT=never");
	ck_assert(!ruleset->policy.has_unix);
	tp_ruleset_free(ruleset);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("ruleset");
	tcase_add_checked_fixture(tcase, make_folder, remove_folder);
	tcase_add_test(tcase, the_fixed_file_is_read_when_no_variable_makes_a_rule);
	tcase_add_test(tcase, without_a_fixed_file_nothing_is_touched);
	tcase_add_test(tcase, the_fixed_file_closes_the_door_when_it_is_wrong);
	tcase_add_test(tcase, the_fixed_file_has_to_be_root_s);
	tcase_add_test(tcase, a_named_file_is_read_and_the_variables_rule_added);
	tcase_add_test(tcase, a_named_file_has_to_be_there);
	tcase_add_test(tcase, all_mistakes_are_told);
	tcase_add_test(tcase, a_long_word_is_cut_so_that_the_rest_is_told);
	tcase_add_test(tcase, a_file_that_cannot_be_read_may_be_about_unix);
	/* Last: what is kept is kept, for the process. */
	tcase_add_test(tcase, a_file_that_comes_after_the_start_is_found);
	tcase_add_test(tcase, a_file_that_was_kept_is_read_when_it_is_gone);
	tcase_add_test(tcase, what_was_wrong_with_a_file_stays_wrong_when_it_is_gone);
	return run_tests("ruleset", tcase);
}
