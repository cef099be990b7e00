/* SPDX-License-Identifier: MIT */
/* A running process, as /proc shows it. */
#ifndef TP_PROCESS_H
#define TP_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TP_PROCESS_LIBRARIES 4

struct tp_process {
	pid_t pid;
	pid_t parent;
	char exe[PATH_MAX]; /* its program, as it sees it */
	/* What it was started as (AT_EXECFN): another name for symbolic links and
	 * scripts. Empty where it cannot be seen, or there is no library in it. */
	char executed[PATH_MAX];
	char **variables;  /* its environment when it started, ended by NULL; servers
			    * that show a title have written over it */
	char **settings;   /* the library's copy of its variables (environ.h), ended by
			    * NULL; NULL when there is none */
	bool is_closed;	   /* its memory is not ours to read: there may be a copy */
	char **arguments;  /* its command line, ended by NULL */
	bool secure;	   /* it gained privileges when it started (AT_SECURE) */
	bool has_ring;	   /* it holds an io_uring */
	uint64_t *sockets; /* inodes */
	size_t socket_count;
	/* Files of our library's name that are mapped, each once; library_count goes on
	 * counting where there is no more room. */
	char libraries[TP_PROCESS_LIBRARIES][PATH_MAX];
	size_t library_count;
};

/*
 * 0, or an errno: ESRCH when there is no such process, EACCES when we may not look. To be
 * freed in the first case only.
 */
int tp_process_read(pid_t pid, struct tp_process *process);
void tp_process_free(struct tp_process *process);

/* The value of a variable, or NULL. */
const char *tp_process_variable(const struct tp_process *process, const char *name);

bool tp_process_holds(const struct tp_process *process, uint64_t socket);

/* Whether a socket that it holds carries our record of a client: the library works. */
bool tp_process_has_record(const struct tp_process *process);

/* The systemd service that it belongs to; false when it belongs to none. */
bool tp_process_unit(pid_t pid, char unit[NAME_MAX + 1]);

/* The path of a file as the process sees it, for us: below its root. */
void tp_process_path(pid_t pid, const char *path, char seen[PATH_MAX]);

/* All process IDs, ended by 0; the caller frees. NULL without memory or /proc. */
pid_t *tp_process_list(void);

/* The parent, or 0. */
pid_t tp_process_parent(pid_t pid);

/*
 * A file, up to max bytes, and a NUL behind them; the caller frees. NULL and errno.
 */
char *tp_file_read(const char *path, size_t max, size_t *len);

#endif
