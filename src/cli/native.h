/* SPDX-License-Identifier: MIT */
/* Servers that read the PROXY header themselves, if their configuration says so. */
#ifndef TP_NATIVE_H
#define TP_NATIVE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct tp_native {
	char file[PATH_MAX]; /* "" where the command line says it */
	char statement[256]; /* what says it, cut */
};

/*
 * Looks into the command line and the files it names, or else the usual ones, and what
 * they include. pid is the process, or 0 for a command that is not running. False when
 * nothing was found, or the server is not one we know.
 */
bool tp_native_find(pid_t pid, const char *exe, char *const *arguments,
		    struct tp_native *found);

#endif
