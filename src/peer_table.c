/* SPDX-License-Identifier: MIT */
#include "peer_table.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "raise.h"

#define PROBES 512	       /* slots looked at for one cookie */
#define FIRST_SWEEP 4096       /* entries that make the first sweep worth it */
#define DESCRIPTORS_MAX 524288 /* more than this many table sockets are not kept */
#define WORDS (sizeof(struct tp_peer) / sizeof(uint64_t) + 1)

/* Cookies start at 1 and count up; these are none. */
#define EMPTY 0
#define REMOVED UINT64_MAX
#define FILLING (UINT64_MAX - 1)

struct entry {
	_Atomic uint64_t cookie;
	_Atomic uint64_t words[WORDS];
	_Atomic uint32_t seen; /* the sweep that last met the socket */
};

struct table {
	size_t mask; /* the number of entries, a power of two, less one */
	struct entry entries[];
};

static _Atomic(struct table *) shared_table;
static atomic_size_t count;
static atomic_size_t sweep_at = FIRST_SWEEP;
static _Atomic uint32_t sweeps = 1;
static _Atomic pid_t sweeper; /* the process that is sweeping, 0: none */
static atomic_size_t end; /* above all that were put; RLIMIT_NOFILE may sink below it */

static bool read_cookie(int fd, uint64_t *cookie)
{
	socklen_t size = sizeof *cookie;
	return !getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &size);
}

static size_t descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > DESCRIPTORS_MAX)
		return DESCRIPTORS_MAX;
	return (size_t)limit.rlim_cur;
}

/* Reserves address space for twice the descriptors there can be; pages come as they are
 * used. */
static struct table *make_table(void)
{
	size_t slots = 8 * FIRST_SWEEP; /* mostly empty: probes stay few */
	while (slots < 2 * descriptor_limit())
		slots *= 2;
	size_t bytes = sizeof(struct table) + slots * sizeof(struct entry);
	struct table *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (made == MAP_FAILED)
		return NULL;
	made->mask = slots - 1;
	struct table *first = NULL;
	if (atomic_compare_exchange_strong(&shared_table, &first, made))
		return made;
	munmap(made, bytes);
	return first;
}

/* Sixteen cookies in a row, which the kernel gives out one after the other, share a page.
 */
static struct entry *slot(struct table *table, uint64_t cookie, size_t probe)
{
	uint64_t block = ((cookie >> 4) * 0x9e3779b97f4a7c15u) >> 24;
	uint64_t first = block << 4 | (cookie & 15);
	return &table->entries[(first + probe) & table->mask];
}

static struct entry *find(struct table *table, uint64_t cookie)
{
	for (size_t probe = 0; probe < PROBES; probe++) {
		struct entry *entry = slot(table, cookie, probe);
		uint64_t there =
			atomic_load_explicit(&entry->cookie, memory_order_acquire);
		if (there == cookie)
			return entry;
		if (there == EMPTY)
			return NULL;
	}
	return NULL;
}

/* Takes a free slot for the cookie, in the state FILLING. */
static struct entry *claim(struct table *table, uint64_t cookie)
{
	for (size_t probe = 0; probe < PROBES; probe++) {
		struct entry *entry = slot(table, cookie, probe);
		uint64_t there =
			atomic_load_explicit(&entry->cookie, memory_order_relaxed);
		if ((there == EMPTY || there == REMOVED) &&
		    atomic_compare_exchange_strong(&entry->cookie, &there, FILLING))
			return entry;
	}
	return NULL;
}

static void mark_open_sockets(struct table *table, uint32_t sweep)
{
	size_t limit = descriptor_limit(), used = atomic_load(&end);
	for (size_t fd = 0; fd < (limit > used ? limit : used); fd++) {
		uint64_t cookie;
		struct entry *entry =
			read_cookie((int)fd, &cookie) ? find(table, cookie) : NULL;
		if (entry)
			atomic_store(&entry->seen, sweep);
	}
}

/*
 * An entry goes when two sweeps in a row have not met its socket: one alone may miss a
 * socket whose descriptor was just being made or moved to a lower number.
 */
static void remove_unseen(struct table *table, uint32_t sweep)
{
	for (size_t i = 0; i <= table->mask; i++) {
		struct entry *entry = &table->entries[i];
		uint64_t cookie = atomic_load(&entry->cookie);
		if (cookie == EMPTY || cookie >= FILLING ||
		    sweep - atomic_load(&entry->seen) < 2)
			continue;
		if (atomic_compare_exchange_strong(&entry->cookie, &cookie, REMOVED))
			atomic_fetch_sub(&count, 1);
	}
}

/* One thread sweeps, the others go on without; a sweep that a fork cut off is taken over.
 */
static void sweep_if_due(struct table *table)
{
	pid_t self = getpid(), busy = 0;
	if (atomic_load(&count) < atomic_load(&sweep_at))
		return;
	if (!atomic_compare_exchange_strong(&sweeper, &busy, self) &&
	    (busy == self || !atomic_compare_exchange_strong(&sweeper, &busy, self)))
		return;
	uint32_t sweep = atomic_fetch_add(&sweeps, 1) + 1;
	mark_open_sockets(table, sweep);
	remove_unseen(table, sweep);
	size_t next = atomic_load(&count) + FIRST_SWEEP;
	size_t most = table->mask - table->mask / 4;
	atomic_store(&sweep_at, next < most ? next : most);
	atomic_store(&sweeper, 0);
}

bool tp_peer_table_put(int fd, const struct tp_peer *peer)
{
	uint64_t cookie, words[WORDS] = {0};
	struct table *table = atomic_load(&shared_table);
	if (!read_cookie(fd, &cookie) || (!table && !(table = make_table())))
		return false;
	tp_raise(&end, (size_t)fd + 1);
	sweep_if_due(table);
	struct entry *entry = find(table, cookie);
	bool fresh = !entry;
	if (fresh)
		entry = claim(table, cookie);
	if (!entry)
		return false;
	memcpy(words, peer, sizeof *peer);
	for (size_t i = 0; i < WORDS; i++)
		atomic_store_explicit(&entry->words[i], words[i], memory_order_relaxed);
	atomic_store(&entry->seen, atomic_load(&sweeps));
	atomic_store_explicit(&entry->cookie, cookie, memory_order_release);
	if (fresh)
		atomic_fetch_add(&count, 1);
	return true;
}

bool tp_peer_table_get(int fd, struct tp_peer *peer)
{
	uint64_t cookie, words[WORDS];
	if (!atomic_load_explicit(&count, memory_order_relaxed) ||
	    !read_cookie(fd, &cookie))
		return false;
	struct entry *entry = find(atomic_load(&shared_table), cookie);
	if (!entry)
		return false;
	for (size_t i = 0; i < WORDS; i++)
		words[i] = atomic_load_explicit(&entry->words[i], memory_order_acquire);
	/* A slot that was given to another socket meanwhile says so. */
	if (atomic_load(&entry->cookie) != cookie)
		return false;
	memcpy(peer, words, sizeof *peer);
	return true;
}

size_t tp_peer_table_count(void)
{
	return atomic_load(&count);
}
