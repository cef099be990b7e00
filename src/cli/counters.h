/* SPDX-License-Identifier: MIT */
/* Files of counters: where they are, and what is in them. */
#ifndef TP_COUNTERS_H
#define TP_COUNTERS_H

#include <stdbool.h>

#include "stats_file.h"

/* Reads, and does not map: a file that somebody cuts short must not end this program. */
bool tp_counters_read(int fd, struct tp_stats_file *file);

/* A file's descriptor when it holds counters, else -1 and errno. */
int tp_counters_open(const char *path, int flags);

/* That of the file that a process counts in. */
int tp_counters_open_process(const char *pid, int flags);

#endif
