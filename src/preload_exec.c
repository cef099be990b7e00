/* SPDX-License-Identifier: MIT */
/*
 * The interposed functions that start another program: what a program shares with others,
 * those that it execs have in common with it, too. Also called in children of vfork.
 */
#include <alloca.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include "listener.h"
#include "real.h"
#include "share.h"

#define EXPORT __attribute__((visibility("default")))

static void prepare(void)
{
	tp_listener_exec();
	tp_share_before_exec();
}

/* They only come back on an error. */
static int failed(int result)
{
	tp_share_exec_failed();
	return result;
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	prepare();
	return failed(tp_real()->execve(path, argv, envp));
}

EXPORT int execv(const char *path, char *const argv[])
{
	prepare();
	return failed(tp_real()->execv(path, argv));
}

EXPORT int execvp(const char *file, char *const argv[])
{
	prepare();
	return failed(tp_real()->execvp(file, argv));
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	prepare();
	return failed(tp_real()->execvpe(file, argv, envp));
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	prepare();
	return failed(tp_real()->fexecve(fd, argv, envp));
}

/* Lists of arguments, up to a NULL, and what is behind it. */

static size_t count(const char *first, va_list *list)
{
	size_t n = 0;
	for (; first; n++)
		first = va_arg(*list, const char *);
	return n;
}

static void fill(char **argv, const char *first, va_list *list)
{
	for (; first; first = va_arg(*list, const char *))
		*argv++ = (char *)first;
	*argv = NULL;
}

/* argv on the stack, as libc does it; the list is at the NULL's successor then. */
#define COLLECT(argv, first, list)                                                       \
	do {                                                                             \
		va_list counted;                                                         \
		va_start(list, first);                                                   \
		va_copy(counted, list);                                                  \
		(argv) = alloca((count(first, &counted) + 1) * sizeof *(argv));          \
		va_end(counted);                                                         \
		fill(argv, first, &(list));                                              \
	} while (0)

EXPORT int execl(const char *path, const char *first, ...)
{
	va_list list;
	char **argv;
	COLLECT(argv, first, list);
	va_end(list);
	return execv(path, argv);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
	va_list list;
	char **argv;
	COLLECT(argv, first, list);
	va_end(list);
	return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *first, ...)
{
	va_list list;
	char **argv;
	COLLECT(argv, first, list);
	char *const *envp = va_arg(list, char *const *);
	va_end(list);
	return execve(path, argv, envp);
}

/* The child is made within libc, so its descriptors are made ready in this process;
 * others that it starts at the same moment may get them, too. */

EXPORT int posix_spawn(pid_t *pid, const char *path,
		       const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const argv[],
		       char *const envp[])
{
	tp_share_before_exec();
	return failed(tp_real()->posix_spawn(pid, path, actions, attributes, argv, envp));
}

EXPORT int posix_spawnp(pid_t *pid, const char *file,
			const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attributes, char *const argv[],
			char *const envp[])
{
	tp_share_before_exec();
	return failed(
		tp_real()->posix_spawnp(pid, file, actions, attributes, argv, envp));
}
