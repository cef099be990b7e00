/* SPDX-License-Identifier: MIT */
/*
 * Part of a library with AddressSanitizer or ThreadSanitizer in it, so that it is in
 * every server that has the library, also in those that clear their environment, give up
 * their rights, lock themselves up in a folder and close all descriptors.
 */
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The runtime declares them so in its own sources alone. */
const char *__tsan_default_options(void);
const char *__tsan_default_suppressions(void);
void __sanitizer_on_print(const char *text);

/* Called before the runtime is ready, too. */
#define EXPORT __attribute__((visibility("default"), no_sanitize("thread")))

/* ---- limits of memory are not set: sanitizers take terabytes of addresses ---- */

EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
	if (resource == RLIMIT_AS || resource == RLIMIT_DATA)
		return 0;
	return (int)syscall(SYS_prlimit64, 0, resource, limit, NULL);
}

/* The same, on 64-bit machines. */
EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	return setrlimit64(resource, (const struct rlimit64 *)limit);
}

/* ---- options, for servers that start without any in their environment ---- */

/*
 * The runtime is behind the library, so that it sees the library's calls. A cancelled
 * thread leaves marks on its stack, over which ASan itself stumbles when it takes down
 * the thread's signal stack; two copies of the library are a test's subject; leaks are
 * memcheck's.
 */
EXPORT const char *__asan_default_options(void)
{
	return "verify_asan_link_order=0:use_sigaltstack=0:"
	       "detect_odr_violation=0:detect_leaks=0";
}

/* That threads end with their program is the programs' affair. */
EXPORT const char *__tsan_default_options(void)
{
	return "report_thread_leaks=0:die_after_fork=0";
}

/*
 * What is reported and is no race:
 *   - The kernel's order between EPOLL_CTL_MOD and the wait that it arms is not known to
 *     TSan: a thread that closes what another has armed seems to race. Nothing of ours is
 *     read or written in that frame.
 *   - Postfix logs in a signal handler, by malloc; Apache ends in one.
 */
EXPORT const char *__tsan_default_suppressions(void)
{
	return "race_top:interceptor_epoll_ctl\n"
	       "signal:libpostfix-util.so\n"
	       "signal:apache2\n"
	       "signal:mod_mpm_prefork.so\n";
}

/* ---- reports, kept where a process cannot lose them: in memory that is a file ---- */

#ifdef TP_REPORTS
enum { ROOM = 1 << 20 };

static char *reports;

/* Calls nothing that the runtime would watch: it is in the midst of its report. */
EXPORT void __sanitizer_on_print(const char *text)
{
	size_t used = 0;
	while (reports && used < ROOM && reports[used] != '\0')
		used++;
	while (reports && used < ROOM && *text != '\0')
		reports[used++] = *text++;
}

__attribute__((constructor)) static void keep_reports(void)
{
	int fd = open(TP_REPORTS, O_RDWR | O_CLOEXEC);
	void *map = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror(TP_REPORTS);
		_exit(127);
	}
	close(fd);
	reports = map;
	__sanitizer_set_report_fd((void *)STDERR_FILENO);
}
#endif
