/* SPDX-License-Identifier: MIT */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_right(const struct tp_stats_file *file, ssize_t len)
{
	return len == (ssize_t)sizeof *file && file->head.size == sizeof *file &&
	       file->head.version == TP_STATS_VERSION &&
	       !memcmp(file->head.magic, TP_STATS_MAGIC, sizeof file->head.magic);
}

bool tp_counters_read(int fd, struct tp_stats_file *file)
{
	struct stat st;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return false;
	return is_right(file, pread(fd, file, sizeof *file, 0));
}

int tp_counters_open(const char *path, int flags)
{
	static struct tp_stats_file file;
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || tp_counters_read(fd, &file))
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

/*
 * The file that a line of /proc/PID/maps names. By way of map_files it is found whatever
 * its name is by now, but that takes root (proc(5)); else by its name.
 */
static int open_mapping(const char *pid, char *line, int flags)
{
	char path[PATH_MAX], range[64], access[8];
	int at = 0;
	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%63s %7s %*s %*s %*s %n", range, access, &at) < 2 ||
	    strcmp(access, "rw-s") || line[at] != '/')
		return -1;
	snprintf(path, sizeof path, "/proc/%s/map_files/%s", pid, range);
	int fd = tp_counters_open(path, flags);
	return fd < 0 ? tp_counters_open(line + at, flags) : fd;
}

int tp_counters_open_process(const char *pid, int flags)
{
	char path[64], *line = NULL;
	size_t size = 0;
	int fd = -1;
	snprintf(path, sizeof path, "/proc/%s/maps", pid);
	FILE *maps = fopen(path, "re");
	if (!maps)
		return -1;
	while (fd < 0 && getline(&line, &size, maps) > 0)
		fd = open_mapping(pid, line, flags);
	free(line);
	fclose(maps);
	errno = ENOENT;
	return fd;
}
