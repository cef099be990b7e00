/* SPDX-License-Identifier: MIT */
/* The library that goes with this command. */
#ifndef TP_LIBRARY_H
#define TP_LIBRARY_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "elf.h"

struct tp_library {
	char path[PATH_MAX]; /* absolute */
	struct tp_elf elf;
};

/*
 * `given`, or where it was installed, or beside this program in a build tree when given
 * is NULL. Returns NULL, or what is wrong with library->path (static text).
 */
const char *tp_library_find(const char *given, struct tp_library *library);

/* Whether a path's last part is the name of our library. */
bool tp_library_is_named(const char *path, size_t len);

#endif
