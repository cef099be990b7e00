/* SPDX-License-Identifier: MIT */
#include "rules_file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

static char folder[64], path[96];

static void make_folder(void)
{
	strcpy(folder, "/tmp/truepeer.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/rules", folder);
}

static void remove_folder(void)
{
	unlink(path);
	rmdir(folder);
}

static void write_rules(const char *text, size_t len, mode_t mode)
{
	FILE *file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(text, 1, len, file), len);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(chmod(path, mode), 0);
}

static struct tp_rules_file *read_rules(bool roots, const char **reason)
{
	*reason = NULL;
	struct tp_rules_file *file =
		tp_rules_file_read(path, strlen(path), roots, reason);
	ck_assert(!file == (*reason != NULL));
	return file;
}

static void assert_unreadable(bool roots, const char *why)
{
	const char *reason;
	time_t start = time(NULL);
	ck_assert_ptr_null(read_rules(roots, &reason));
	ck_assert_ptr_nonnull(strstr(reason, why));
	ck_assert_int_le(time(NULL) - start, 5);
}

START_TEST(a_file_is_read_whole)
{
	static const char text[] = "from all\n\0\r\nx";
	const char *reason;
	write_rules(text, sizeof text, 0644);
	struct tp_rules_file *file = read_rules(false, &reason);
	ck_assert_str_eq(file->path, path);
	ck_assert_uint_eq(file->len, sizeof text);
	ck_assert_mem_eq(file->text, text, sizeof text);
	tp_rules_file_free(file);
}
END_TEST

START_TEST(the_path_ends_where_its_length_says)
{
	const char *reason = NULL;
	char longer[128];
	write_rules("x", 1, 0644);
	snprintf(longer, sizeof longer, "%s more", path);
	struct tp_rules_file *file =
		tp_rules_file_read(longer, strlen(path), false, &reason);
	ck_assert_ptr_nonnull(file);
	ck_assert_str_eq(file->path, path);
	tp_rules_file_free(file);
}
END_TEST

START_TEST(an_empty_file_is_read)
{
	const char *reason;
	write_rules("", 0, 0644);
	struct tp_rules_file *file = read_rules(false, &reason);
	ck_assert_uint_eq(file->len, 0);
	tp_rules_file_free(file);
}
END_TEST

START_TEST(a_file_of_a_mebibyte_is_read_and_a_larger_one_is_not)
{
	const char *reason;
	write_rules("x", 1, 0644);
	ck_assert_int_eq(truncate(path, TP_RULES_FILE_MAX), 0);
	struct tp_rules_file *file = read_rules(false, &reason);
	ck_assert_uint_eq(file->len, TP_RULES_FILE_MAX);
	tp_rules_file_free(file);
	ck_assert_int_eq(truncate(path, TP_RULES_FILE_MAX + 1), 0);
	assert_unreadable(false, "larger");
}
END_TEST

START_TEST(what_is_not_a_regular_file_is_not_read_nor_waited_for)
{
	ck_assert_int_eq(mkfifo(path, 0644), 0);
	assert_unreadable(false, "not a regular file");
	unlink(path);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	assert_unreadable(false, "not a regular file");
	rmdir(path);
	ck_assert_int_eq(symlink("/dev/zero", path), 0);
	assert_unreadable(false, "not a regular file");
	unlink(path);
	ck_assert_int_eq(symlink(path, path), 0);
	assert_unreadable(false, "cannot be read");
}
END_TEST

START_TEST(a_file_whose_size_is_not_true_is_not_read)
{
	const char *reason = NULL;
	static const char endless[] = "/proc/self/status"; /* its size is 0 */
	ck_assert_ptr_null(tp_rules_file_read(endless, strlen(endless), false, &reason));
	ck_assert_ptr_nonnull(strstr(reason, "changed"));
}
END_TEST

START_TEST(no_file_is_told_from_one_that_is_wrong)
{
	const char *reason;
	errno = 0;
	ck_assert_ptr_null(read_rules(false, &reason));
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(mkdir(path, 0755), 0);
	errno = ENOENT;
	ck_assert_ptr_null(read_rules(false, &reason));
	ck_assert_int_ne(errno, ENOENT);
	rmdir(path);
}
END_TEST

START_TEST(a_path_that_is_too_long_is_an_error)
{
	static char longest[TP_RULES_PATH];
	const char *reason = NULL;
	memset(longest, '/', sizeof longest);
	ck_assert_ptr_null(tp_rules_file_read(longest, sizeof longest, false, &reason));
	ck_assert_ptr_nonnull(reason);
}
END_TEST

static const struct {
	mode_t mode;
	bool roots;
} modes[] = {{0600, true},  {0644, true},  {0444, true},  {0755, true},
	     {0664, false}, {0646, false}, {0666, false}, {0602, false}};

START_TEST(the_fixed_file_is_written_by_root_alone)
{
	const char *reason;
	struct tp_rules_file *file;
	if (getuid())
		return; /* only root can make such a file */
	write_rules("x", 1, modes[_i].mode);
	if (modes[_i].roots) {
		file = read_rules(true, &reason);
		tp_rules_file_free(file);
	} else {
		assert_unreadable(true, "others than root");
	}
	ck_assert_ptr_nonnull(file = read_rules(false, &reason));
	tp_rules_file_free(file);
	ck_assert_int_eq(chown(path, 1, 0), 0);
	assert_unreadable(true, "belong to root");
}
END_TEST

START_TEST(a_file_that_may_not_be_read_says_so)
{
	if (getuid())
		return;
	write_rules("x", 1, 0600);
	ck_assert_int_eq(chmod(folder, 0755), 0);
	ck_assert_int_eq(seteuid(1), 0);
	assert_unreadable(false, "may not be read");
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("rules_file");
	tcase_add_checked_fixture(tcase, make_folder, remove_folder);
	tcase_add_test(tcase, a_file_is_read_whole);
	tcase_add_test(tcase, the_path_ends_where_its_length_says);
	tcase_add_test(tcase, an_empty_file_is_read);
	tcase_add_test(tcase, a_file_of_a_mebibyte_is_read_and_a_larger_one_is_not);
	tcase_add_test(tcase, what_is_not_a_regular_file_is_not_read_nor_waited_for);
	tcase_add_test(tcase, a_file_whose_size_is_not_true_is_not_read);
	tcase_add_test(tcase, no_file_is_told_from_one_that_is_wrong);
	tcase_add_test(tcase, a_path_that_is_too_long_is_an_error);
	tcase_add_table(tcase, the_fixed_file_is_written_by_root_alone, modes);
	tcase_add_test(tcase, a_file_that_may_not_be_read_says_so);
	return run_tests("rules_file", tcase);
}
