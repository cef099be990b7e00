/* SPDX-License-Identifier: MIT */
/*
 * What "truepeer stats" prints of a file of counters that may be broken. Input: how many
 * bytes the file has too many (above 128: too few), and pieces of it: where (two bytes),
 * how long (one), and the bytes. The command's source is part of this, for what
 * it shows is not public.
 */
#include <sys/mman.h>

#include "cli/stats.c"
#include "printed.h"

/* Pieces lie close together at the head and in the first listeners. */
static size_t place(unsigned where)
{
	const size_t listeners = offsetof(struct tp_stats_file, listeners);
	return where < 64    ? where
	       : where < 128 ? offsetof(struct tp_stats_file, parked) + where
			     : listeners + (where * 4 %
					    (sizeof(struct tp_stats_file) - listeners));
}

static void write_file(uint8_t *file, const uint8_t *at, size_t left)
{
	while (left > 3) {
		size_t to = place(at[0] << 8 | at[1]), len = at[2];
		at += 3;
		left -= 3;
		len = len < left ? len : left;
		if (len > sizeof(struct tp_stats_file) - to)
			len = sizeof(struct tp_stats_file) - to;
		memcpy(file + to, at, len);
		at += len;
		left -= len;
	}
}

static void check(const struct report *report, void (*show)(const struct report *))
{
	begin_printing();
	show(report);
	end_printing();
	if (show == show_json)
		check_json();
	free(printed.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t file[sizeof(struct tp_stats_file) + 256];
	static struct report report;
	static int fd = -1;
	const uint32_t head[] = {TP_STATS_VERSION, sizeof(struct tp_stats_file)};
	if (!size)
		return 0;
	if (fd < 0)
		fd = memfd_create("counters", MFD_CLOEXEC);
	memset(file, 0, sizeof file);
	memcpy(file, TP_STATS_MAGIC, 8);
	memcpy(file + 8, head, sizeof head);
	write_file(file, data + 1, size - 1);
	size_t len = sizeof(struct tp_stats_file) + data[0] - (data[0] > 128 ? 256 : 0);
	LAW(!ftruncate(fd, 0) && pwrite(fd, file, len, 0) == (ssize_t)len);
	bool right = len >= sizeof(struct tp_stats_file) &&
		     !memcmp(file, TP_STATS_MAGIC, 8) &&
		     !memcmp(file + 8, head, sizeof head);
	LAW(make_report(fd, &report) == right);
	if (!right)
		return 0;
	LAW(report.listeners <= TP_STATS_LISTENERS + 1);
	check(&report, show_text);
	check(&report, show_json);
	check(&report, show_prometheus);
	return 0;
}
