/* SPDX-License-Identifier: MIT */
/* The rules file, as text. */
#ifndef TP_RULES_FILE_H
#define TP_RULES_FILE_H

#include <stdbool.h>
#include <stddef.h>

#define TP_RULES_FILE "/etc/truepeer.rules" /* where none is named */
#define TP_RULES_PATH 1024 /* bytes, with the NUL: it passes through the stack */
#define TP_RULES_FILE_MAX (1024 * 1024) /* bytes */

struct tp_rules_file {
	size_t mapped; /* bytes of all this */
	size_t len;
	char path[TP_RULES_PATH];
	char text[]; /* len bytes */
};

/*
 * Reads the regular file path[0..path_len) into memory of its own, which the caller gives
 * back with tp_rules_file_free; text that is changed or cut later does no harm. With
 * `roots` it must belong to root, and be writable by nobody else. NULL and the reason
 * (static text) when it cannot be done; errno is ENOENT or ENOTDIR when there is no such
 * file. No stdio, no malloc; never waits for
 * a FIFO or a device.
 */
struct tp_rules_file *tp_rules_file_read(const char *path, size_t path_len, bool roots,
					 const char **reason);

/* NULL is allowed. */
void tp_rules_file_free(struct tp_rules_file *file);

#endif
