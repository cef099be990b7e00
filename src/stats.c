/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "real.h"
#include "stats_file.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define TEMPORARY ".XXXXXX"

_Atomic(struct tp_stats_file *) tp_stats_mapped;

static const char foreign[] = "it is no file of statistics; it is left alone";

/* NULL, or why nobody should map the file for writing. */
static const char *judge(int fd, bool *outdated)
{
	struct tp_stats_head head;
	struct stat st;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return "it is no regular file";
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return "it belongs to another user";
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return "others may write to it";
	if (pread(fd, &head, sizeof head, 0) != sizeof head ||
	    memcmp(head.magic, TP_STATS_MAGIC, sizeof head.magic))
		return foreign;
	const uint32_t size = sizeof(struct tp_stats_file);
	*outdated = head.version != TP_STATS_VERSION || head.size != size;
	return !*outdated && st.st_size != size ? foreign : NULL;
}

static const char *map(int fd)
{
	struct tp_stats_file *none = NULL, *made;
	made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (made == MAP_FAILED)
		return "it cannot be mapped";
	if (!atomic_compare_exchange_strong(&tp_stats_mapped, &none, made))
		munmap(made, sizeof *made);
	return NULL;
}

/* ENOENT in errno when there is none. *outdated: it is one of another version. */
static const char *open_existing(const char *path, bool *outdated)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? "it is a symbolic link" : "it cannot be opened";
	const char *reason = judge(fd, outdated);
	if (!reason && !*outdated)
		reason = map(fd);
	tp_real()->close(fd);
	errno = 0;
	return reason;
}

static bool fill(int fd)
{
	const struct tp_stats_head head = {.magic = TP_STATS_MAGIC,
					   .version = TP_STATS_VERSION,
					   .size = sizeof(struct tp_stats_file)};
	return !posix_fallocate(fd, 0, sizeof(struct tp_stats_file)) &&
	       pwrite(fd, &head, sizeof head, 0) == sizeof head && !fchmod(fd, 0644);
}

/*
 * A whole file under another name first: nobody ever meets half of one. link does not
 * replace what another process has made meanwhile; rename replaces an outdated one.
 */
static bool create_file(const char *path, bool replace)
{
	char temporary[PATH_MAX];
	size_t len = strlen(path);
	if (len + sizeof TEMPORARY > sizeof temporary)
		return false;
	memcpy(temporary, path, len);
	memcpy(temporary + len, TEMPORARY, sizeof TEMPORARY);
	int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = fill(fd) && (replace ? !rename(temporary, path)
				       : !link(temporary, path) || errno == EEXIST);
	unlink(temporary);
	tp_real()->close(fd);
	return ok;
}

/* A number for this run of the kernel, 0 when it is not to be had. */
static uint64_t read_boot(void)
{
	char id[36] = "";
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	uint64_t hash = 14695981039346656037u; /* FNV-1a */
	if (fd < 0)
		return 0;
	if (read(fd, id, sizeof id) < (ssize_t)sizeof id)
		hash = 0;
	tp_real()->close(fd);
	for (size_t i = 0; hash && i < sizeof id; i++)
		hash = (hash ^ (uint8_t)id[i]) * 1099511628211u;
	return hash;
}

/* The clock has begun anew: what was parked before is gone. */
static void forget_last_boot(struct tp_stats_file *file)
{
	uint64_t now = read_boot(), before = atomic_load(&file->boot);
	if (!now || now == before ||
	    !atomic_compare_exchange_strong(&file->boot, &before, now))
		return;
	for (size_t i = 0; i < TP_STATS_SECONDS; i++)
		atomic_store(&file->parked[i], 0);
}

const char *tp_stats_open(const char *path, size_t len, bool create)
{
	char name[PATH_MAX];
	bool outdated = false;
	if (tp_stats_on())
		return NULL;
	if (len >= sizeof name)
		return "its name is too long";
	memcpy(name, path, len);
	name[len] = '\0';
	const char *reason = open_existing(name, &outdated);
	if (create && (outdated || (reason && errno == ENOENT))) {
		if (!create_file(name, outdated))
			return "it cannot be made";
		reason = open_existing(name, &outdated);
	}
	if (tp_stats_on())
		forget_last_boot(atomic_load(&tp_stats_mapped));
	return reason;
}

static void add(_Atomic uint64_t *counter, uint64_t amount)
{
	atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

static bool has_name(const struct tp_stats_listener *place, const struct tp_addr *name)
{
	return place->port == name->port &&
	       place->family == (name->family == AF_INET ? 4 : 6) &&
	       !memcmp(place->ip, name->ip, sizeof place->ip);
}

static void set_name(struct tp_stats_listener *place, const struct tp_addr *name)
{
	place->port = name->port;
	place->family = name->family == AF_INET ? 4 : 6;
	memcpy(place->ip, name->ip, sizeof place->ip);
	atomic_store_explicit(&place->state, TP_STATS_NAMED, memory_order_release);
}

unsigned tp_stats_place(const struct tp_addr *listener)
{
	struct tp_stats_file *file = atomic_load(&tp_stats_mapped);
	if (!file || listener->family == AF_UNSPEC)
		return file ? TP_STATS_LISTENERS : 0;
	for (unsigned i = 0; i < TP_STATS_LISTENERS; i++) {
		struct tp_stats_listener *place = &file->listeners[i];
		uint32_t state =
			atomic_load_explicit(&place->state, memory_order_acquire);
		if (state == TP_STATS_FREE &&
		    atomic_compare_exchange_strong(&place->state, &state,
						   TP_STATS_TAKEN)) {
			set_name(place, listener);
			return i;
		}
		/* Two that come at once may each make a place: readers add them up. */
		if (state == TP_STATS_NAMED && has_name(place, listener))
			return i;
	}
	return TP_STATS_LISTENERS;
}

void tp_stats_count(unsigned place, enum tp_outcome outcome, enum tp_reason reason)
{
	struct tp_stats_file *file = atomic_load(&tp_stats_mapped);
	if (file)
		add(&file->listeners[place].connections[outcome][reason], 1);
}

void tp_stats_count_wait(unsigned place, int64_t ms)
{
	static const uint16_t limits[] = {TP_STATS_LIMITS};
	struct tp_stats_file *file = atomic_load(&tp_stats_mapped);
	size_t class = 0;
	if (!file)
		return;
	while (class < TP_STATS_CLASSES - 1 && ms > limits[class])
		class ++;
	add(&file->listeners[place].waits[class], 1);
	add(&file->listeners[place].waited_ms, (uint64_t)ms);
}

void tp_stats_count_parked(int64_t deadline_ms, int change)
{
	struct tp_stats_file *file = atomic_load(&tp_stats_mapped);
	if (!file)
		return;
	const uint64_t second = (uint64_t)deadline_ms / 1000;
	_Atomic uint64_t *entry = &file->parked[second % TP_STATS_SECONDS];
	uint64_t before = atomic_load(entry), after;
	do {
		uint64_t count = before >> TP_STATS_COUNT_BITS == second
					 ? before & TP_STATS_COUNT_MASK
					 : 0;
		if (change < 0 && !count)
			return; /* it was another second's, or cleared */
		after = second << TP_STATS_COUNT_BITS |
			(count + (uint64_t)(int64_t)change);
	} while (!atomic_compare_exchange_weak(entry, &before, after));
}
