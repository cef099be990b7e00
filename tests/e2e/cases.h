/* SPDX-License-Identifier: MIT */
/* Programs of many cases, each run by its name: PROGRAM CASE [ARGUMENT...]. */
#ifndef CASES_H
#define CASES_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

/* Defines a case, which main finds by its name. */
#define CASE(title)                                                                      \
	static void title(void);                                                         \
	__attribute__((constructor)) static void title##_register(void)                  \
	{                                                                                \
		cases[case_count++] = (struct test_case){#title, title};                 \
	}                                                                                \
	static void title(void)

static struct test_case {
	const char *name;
	void (*run)(void);
} cases[128];
static size_t case_count;
static bool shim; /* whether the library is there, and somebody to read headers */
static int slowness; /* how many times longer all takes: some tool watches */
static char **arguments;

static _Noreturn void fail(int line, const char *condition)
{
	printf("line %d: not so: %s (errno %d, %s)\n", line, condition, errno,
	       strerror(errno));
	fflush(stdout);
	_exit(1);
}

static struct sockaddr *sa(void *address)
{
	return address;
}

static const char *header(int number)
{
	static _Thread_local char line[108];

	snprintf(line, sizeof(line), "PROXY TCP4 203.0.113.7 198.51.100.1 %d 443\r\n",
		 1000 + number);
	return line;
}

/* This program to execute, or what runs it under a tool. */
static inline const char *self(void)
{
	return getenv("SELF") ? getenv("SELF") : "/proc/self/exe";
}

/* For those who start some program, and wait for its end. */
CASE(nothing)
{
}

static int descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	int count = -3; /* ".", ".." and the folder's own */

	while (readdir(folder) != NULL)
		count++;
	closedir(folder);
	return count;
}

static void check_child(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Runs the case that is asked for; else lists them all. */
static int run_case(int argc, char **argv)
{
	shim = getenv("TRUEPEER_TRUST") != NULL;
	slowness = getenv("SLOWNESS") ? atoi(getenv("SLOWNESS")) : 1;
	arguments = argv;
	alarm(15 * (unsigned)slowness); /* no case waits for ever */
	for (size_t i = 0; i < case_count; i++)
		if (argc >= 2 && strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	for (size_t i = 0; i < case_count; i++)
		printf("%s\n", cases[i].name);
	return 2;
}

#endif
