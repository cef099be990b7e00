/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "sockets.h"

#define BURST 20

static char folder[] = "/tmp/test_log.XXXXXX";
static char path[64];
static int real_stderr;

static void set_up(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/log", folder);
	real_stderr = dup(STDERR_FILENO);
}

static void tear_down(void)
{
	dup2(real_stderr, STDERR_FILENO);
	unlink(path);
	rmdir(folder);
}

static void open_log(enum tp_log_target target, enum tp_log_level level)
{
	struct tp_log_settings settings = {.target = target, .level = level};
	/* Followed by more, as a word in a variable is. */
	static char text[sizeof path + 8];
	snprintf(text, sizeof text, "%s,info", path);
	settings.path.text = text;
	settings.path.len = strlen(path);
	tp_log_open(&settings);
}

static void say(enum tp_log_level level, const char *words)
{
	struct tp_text text = {0};
	tp_text_put(&text, words);
	tp_log(level, &text);
}

/* What the file holds, in a buffer that lasts until the next call. */
static const char *content_of(const char *name)
{
	static char content[65536];
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, content, sizeof content - 1);
	content[len > 0 ? len : 0] = '\0';
	close(fd);
	return content;
}

static size_t lines_in(const char *text)
{
	size_t n = 0;
	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* Where a line of ours begins and ends. */
static const char *framed(const char *words)
{
	static char line[1024];
	snprintf(line, sizeof line, "truepeer[%d]: %s\n", (int)getpid(), words);
	return line;
}

/* Makes standard error a file, a pipe, ...; the descriptor itself is closed. */
static void put_at_stderr(int fd)
{
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
}

static int open_file(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* The number under which a file is open, or -1. */
static int descriptor_of(const char *name)
{
	struct stat wanted, st;
	ck_assert_int_eq(stat(name, &wanted), 0);
	for (int fd = 3; fd < 1024; fd++)
		if (!fstat(fd, &st) && st.st_ino == wanted.st_ino &&
		    st.st_dev == wanted.st_dev)
			return fd;
	return -1;
}

/* ---- the targets ---- */

START_TEST(a_line_goes_to_the_file)
{
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	say(TP_LOG_WARNING, "a warning");
	ck_assert_str_eq(content_of(path), framed("a warning"));
}
END_TEST

START_TEST(the_file_is_appended_to)
{
	int fd = open_file(path);
	ck_assert_int_eq(write(fd, "before\n", 7), 7);
	close(fd);
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	say(TP_LOG_ERROR, "after");
	ck_assert_ptr_eq(strstr(content_of(path), "before\ntruepeer["), content_of(path));
}
END_TEST

START_TEST(the_file_is_out_of_the_programs_way)
{
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	int fd = descriptor_of(path);
	ck_assert_int_gt(fd, 100);
	ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}
END_TEST

START_TEST(a_line_goes_to_standard_error)
{
	put_at_stderr(open_file(path));
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	say(TP_LOG_WARNING, "a warning");
	ck_assert_str_eq(content_of(path), framed("a warning"));
}
END_TEST

START_TEST(standard_error_may_be_a_pipe)
{
	int ends[2];
	char got[128] = "";
	ck_assert_int_eq(pipe(ends), 0);
	put_at_stderr(ends[1]);
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	say(TP_LOG_WARNING, "a warning");
	ck_assert_int_gt(read(ends[0], got, sizeof got - 1), 0);
	ck_assert_str_eq(got, framed("a warning"));
}
END_TEST

START_TEST(standard_error_may_be_a_unix_socket)
{
	int ends[2];
	char got[128] = "";
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	put_at_stderr(ends[1]); /* as systemd's journal is */
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	say(TP_LOG_WARNING, "a warning");
	ck_assert_int_gt(recv(ends[0], got, sizeof got - 1, MSG_DONTWAIT), 0);
	ck_assert_str_eq(got, framed("a warning"));
}
END_TEST

START_TEST(none_is_silent)
{
	put_at_stderr(open_file(path));
	open_log(TP_LOG_NONE, TP_LOG_INFO);
	ck_assert(!tp_log_wants(TP_LOG_ERROR));
	say(TP_LOG_ERROR, "nothing");
	ck_assert_str_eq(content_of(path), "");
}
END_TEST

START_TEST(a_mistake_is_told_even_with_none)
{
	struct tp_text text = {0};
	put_at_stderr(open_file(path));
	open_log(TP_LOG_NONE, TP_LOG_ERROR);
	tp_text_put(&text, "a mistake");
	tp_log_mistake(&text);
	ck_assert_str_eq(content_of(path), framed("a mistake"));
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_is_told_on_standard_error)
{
	char other[80];
	snprintf(other, sizeof other, "%s/stderr", folder);
	put_at_stderr(open_file(other));
	snprintf(path, sizeof path, "%s/no/such/file", folder);
	errno = 4711;
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	ck_assert_int_eq(errno, 4711);
	say(TP_LOG_WARNING, "a warning");
	const char *told = content_of(other);
	ck_assert_ptr_nonnull(strstr(told, path));
	ck_assert_ptr_nonnull(strstr(told, framed("a warning")));
	ck_assert_uint_eq(lines_in(told), 2);
	unlink(other);
}
END_TEST

START_TEST(a_fifo_without_reader_is_not_waited_for)
{
	char other[80];
	snprintf(other, sizeof other, "%s/stderr", folder);
	put_at_stderr(open_file(other));
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	open_log(TP_LOG_FILE, TP_LOG_WARNING); /* would block for ever */
	ck_assert_ptr_nonnull(strstr(content_of(other), path));
	unlink(other);
}
END_TEST

START_TEST(a_path_too_long_is_told_on_standard_error)
{
	static char endless[PATH_MAX + 1];
	memset(endless, '/', sizeof endless);
	put_at_stderr(open_file(path));
	tp_log_open(&(struct tp_log_settings){.target = TP_LOG_FILE,
					      .level = TP_LOG_WARNING,
					      .path = {endless, sizeof endless}});
	ck_assert_uint_eq(lines_in(content_of(path)), 1);
	say(TP_LOG_WARNING, "a warning");
	ck_assert_uint_eq(lines_in(content_of(path)), 2);
}
END_TEST

/* ---- levels, rate, text ---- */

START_TEST(only_wanted_levels_are_written)
{
	const enum tp_log_level levels[] = {TP_LOG_ERROR, TP_LOG_WARNING, TP_LOG_INFO};
	open_log(TP_LOG_FILE, levels[_i]);
	for (int level = 0; level < 3; level++) {
		ck_assert(tp_log_wants(levels[level]) == (level <= _i));
		say(levels[level], "line");
	}
	ck_assert_uint_eq(lines_in(content_of(path)), (size_t)_i + 1);
}
END_TEST

START_TEST(warnings_are_limited_and_the_rest_is_counted)
{
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	for (int i = 0; i < 1000; i++)
		say(TP_LOG_WARNING, "again");
	size_t lines = lines_in(content_of(path));
	ck_assert_uint_ge(lines, BURST);
	ck_assert_uint_le(lines, BURST + 2); /* a second or two may have gone by */
	say(TP_LOG_ERROR, "an error");
	const char *last = strstr(content_of(path), "an error");
	ck_assert_ptr_nonnull(last);
	ck_assert_int_eq(atoi(strchr(last, '(') + 1), 1000 - (int)lines);
}
END_TEST

START_TEST(one_more_warning_is_allowed_each_second)
{
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	for (int i = 0; i < 2 * BURST; i++)
		say(TP_LOG_WARNING, "again");
	size_t before = lines_in(content_of(path));
	poll(NULL, 0, 1100);
	say(TP_LOG_WARNING, "later");
	ck_assert_uint_eq(lines_in(content_of(path)), before + 1);
	ck_assert_ptr_nonnull(strstr(content_of(path), "later ("));
}
END_TEST

START_TEST(errors_are_not_limited)
{
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	for (int i = 0; i < 5 * BURST; i++)
		say(TP_LOG_ERROR, "again");
	ck_assert_uint_eq(lines_in(content_of(path)), 5 * BURST);
}
END_TEST

START_TEST(a_stranger_cannot_forge_a_line)
{
	struct tp_text text = {0};
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	tp_text_put_quoted(&text, "x\ntruepeer[1]: all is well\x1b[2J\r", 30);
	tp_log(TP_LOG_WARNING, &text);
	ck_assert_uint_eq(lines_in(content_of(path)), 1);
	ck_assert_ptr_null(strchr(content_of(path), '\x1b'));
}
END_TEST

START_TEST(errno_is_kept)
{
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	close(descriptor_of(path));
	errno = 4711;
	say(TP_LOG_WARNING, "a warning");
	ck_assert_int_eq(errno, 4711);
}
END_TEST

START_TEST(a_child_has_its_own_number)
{
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	pid_t pid = fork();
	if (!pid) {
		say(TP_LOG_WARNING, "the child");
		_exit(strcmp(content_of(path), framed("the child")) ? 1 : 0);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- a guest's manners ---- */

START_TEST(a_closed_file_is_opened_again)
{
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	close(descriptor_of(
		path)); /* as a daemon does that closes all it does not know */
	say(TP_LOG_WARNING, "a warning");
	ck_assert_str_eq(content_of(path), framed("a warning"));
}
END_TEST

START_TEST(a_number_that_the_program_uses_is_not_written_to)
{
	int ends[2];
	char byte;
	open_log(TP_LOG_FILE, TP_LOG_WARNING);
	int fd = descriptor_of(path);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	ck_assert_int_eq(dup2(ends[1], fd), fd);
	say(TP_LOG_WARNING, "a warning");
	ck_assert_int_eq(recv(ends[0], &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_str_eq(content_of(path), framed("a warning"));
	ck_assert_int_eq(send(fd, "x", 1, 0), 1); /* still the program's */
	ck_assert_int_eq(recv(ends[0], &byte, 1, MSG_DONTWAIT), 1);
}
END_TEST

START_TEST(a_connection_at_standard_error_is_not_written_to)
{
	struct pair pair = connected(_i ? AF_INET6 : AF_INET);
	char byte;
	put_at_stderr(pair.server); /* as inetd does */
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	say(TP_LOG_WARNING, "a warning");
	poll(NULL, 0, 20);
	ck_assert_int_eq(recv(pair.client, &byte, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
}
END_TEST

START_TEST(another_file_at_standard_error_is_not_written_to)
{
	char other[80];
	snprintf(other, sizeof other, "%s/data", folder);
	put_at_stderr(open_file(path));
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	close(STDERR_FILENO);
	int fd = open_file(other); /* the lowest free number, 2 */
	ck_assert_int_eq(fd, STDERR_FILENO);
	say(TP_LOG_WARNING, "a warning");
	ck_assert_str_eq(content_of(other), "");
	ck_assert_str_eq(content_of(path), "");
	unlink(other);
}
END_TEST

START_TEST(a_socket_at_a_closed_standard_error_is_not_written_to)
{
	int ends[2];
	char byte;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	close(STDERR_FILENO);
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	say(TP_LOG_WARNING, "a warning");
	ck_assert_int_eq(recv(ends[0], &byte, 1, MSG_DONTWAIT), -1);
}
END_TEST

START_TEST(without_standard_error_nothing_happens)
{
	close(STDERR_FILENO);
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	errno = 4711;
	say(TP_LOG_WARNING, "a warning");
	ck_assert_int_eq(errno, 4711);
}
END_TEST

static void fill(int fd)
{
	static const char page[4096];
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (write(fd, page, sizeof page) > 0)
		;
	fcntl(fd, F_SETFL, 0);
}

START_TEST(a_full_pipe_is_not_waited_for)
{
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	fill(ends[1]);
	put_at_stderr(ends[1]);
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	alarm(10);
	for (int i = 0; i < 100; i++)
		say(TP_LOG_ERROR, "a line"); /* would block for ever */
	ck_assert_uint_eq(waiting_bytes(ends[0]) % 4096, 0);
	alarm(0);
}
END_TEST

START_TEST(a_full_unix_socket_is_not_waited_for)
{
	int ends[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	fill(ends[1]);
	put_at_stderr(ends[1]);
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	alarm(10);
	for (int i = 0; i < 100; i++)
		say(TP_LOG_ERROR, "a line");
	alarm(0);
}
END_TEST

START_TEST(a_pipe_without_reader_raises_no_signal)
{
	int ends[2];
	ck_assert_int_eq(pipe(ends), 0);
	put_at_stderr(ends[1]);
	close(ends[0]);
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	errno = 4711;
	say(TP_LOG_ERROR, "a line"); /* SIGPIPE would end the test */
	ck_assert_int_eq(errno, 4711);
}
END_TEST

START_TEST(a_unix_socket_without_reader_raises_no_signal)
{
	int ends[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	put_at_stderr(ends[1]);
	close(ends[0]);
	open_log(TP_LOG_STDERR, TP_LOG_WARNING);
	errno = 4711;
	say(TP_LOG_ERROR, "a line");
	ck_assert_int_eq(errno, 4711);
}
END_TEST

static void add_target_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_line_goes_to_the_file);
	tcase_add_test(tcase, the_file_is_appended_to);
	tcase_add_test(tcase, the_file_is_out_of_the_programs_way);
	tcase_add_test(tcase, a_line_goes_to_standard_error);
	tcase_add_test(tcase, standard_error_may_be_a_pipe);
	tcase_add_test(tcase, standard_error_may_be_a_unix_socket);
	tcase_add_test(tcase, none_is_silent);
	tcase_add_test(tcase, a_mistake_is_told_even_with_none);
	tcase_add_test(tcase, a_file_that_cannot_be_opened_is_told_on_standard_error);
	tcase_add_test(tcase, a_fifo_without_reader_is_not_waited_for);
	tcase_add_test(tcase, a_path_too_long_is_told_on_standard_error);
}

static void add_text_tests(TCase *tcase)
{
	tcase_add_loop_test(tcase, only_wanted_levels_are_written, 0, 3);
	tcase_add_test(tcase, warnings_are_limited_and_the_rest_is_counted);
	tcase_add_test(tcase, one_more_warning_is_allowed_each_second);
	tcase_add_test(tcase, errors_are_not_limited);
	tcase_add_test(tcase, a_stranger_cannot_forge_a_line);
	tcase_add_test(tcase, errno_is_kept);
	tcase_add_test(tcase, a_child_has_its_own_number);
}

static void add_manners_tests(TCase *tcase)
{
	tcase_add_test(tcase, a_closed_file_is_opened_again);
	tcase_add_test(tcase, a_number_that_the_program_uses_is_not_written_to);
	tcase_add_loop_test(tcase, a_connection_at_standard_error_is_not_written_to, 0,
			    2);
	tcase_add_test(tcase, another_file_at_standard_error_is_not_written_to);
	tcase_add_test(tcase, a_socket_at_a_closed_standard_error_is_not_written_to);
	tcase_add_test(tcase, without_standard_error_nothing_happens);
	tcase_add_test(tcase, a_full_pipe_is_not_waited_for);
	tcase_add_test(tcase, a_full_unix_socket_is_not_waited_for);
	tcase_add_test(tcase, a_pipe_without_reader_raises_no_signal);
	tcase_add_test(tcase, a_unix_socket_without_reader_raises_no_signal);
}

int main(void)
{
	TCase *tcase = tcase_create("log");
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	add_target_tests(tcase);
	add_text_tests(tcase);
	add_manners_tests(tcase);
	return run_tests("log", tcase);
}
