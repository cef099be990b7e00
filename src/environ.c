/* SPDX-License-Identifier: MIT */
#include "environ.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const nothing[] = {NULL};
static _Atomic(const char *const *) captured;
static atomic_bool preload_names_us;

bool tp_environ_is_trusted(void)
{
	return !getauxval(AT_SECURE);
}

static bool is_ours(const char *variable)
{
	return !strncmp(variable, TP_ENVIRON_PREFIX, strlen(TP_ENVIRON_PREFIX));
}

/* One mapping: the pointers, then the strings. NULL when there is no memory. "truepeer
 * doctor" looks for it in other processes, by this layout (cli/process.c). */
static const char *const *copy_ours(size_t count, size_t bytes)
{
	size_t table = (count + 1) * sizeof(char *);
	void *memory = mmap(NULL, table + bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	const char **variables = memory;
	char *text = (char *)memory + table;
	size_t n = 0;
	for (char **at = environ; *at && n < count; at++) {
		size_t size = strlen(*at) + 1;
		if (!is_ours(*at) || size > bytes)
			continue;
		variables[n++] = memcpy(text, *at, size);
		text += size;
		bytes -= size;
	}
	return variables;
}

static bool preloads_us(const char *variable)
{
	return !strncmp(variable, "LD_PRELOAD=", strlen("LD_PRELOAD=")) &&
	       strstr(variable, "truepeer");
}

void tp_environ_capture(void)
{
	size_t count = 0, bytes = 0;
	int saved = errno;
	if (atomic_load_explicit(&captured, memory_order_acquire))
		return;
	for (char **at = environ; at && *at && tp_environ_is_trusted(); at++) {
		if (is_ours(*at)) {
			count++;
			bytes += strlen(*at) + 1;
		} else if (preloads_us(*at)) {
			atomic_store(&preload_names_us, true);
		}
	}
	const char *const *copy = count ? copy_ours(count, bytes) : nothing;
	const char *const *none = NULL;
	/* Whoever loses the race leaves a mapping behind: it happens once at the most. */
	if (copy)
		atomic_compare_exchange_strong(&captured, &none, copy);
	errno = saved;
}

const char *const *tp_environ(void)
{
	tp_environ_capture();
	const char *const *variables =
		atomic_load_explicit(&captured, memory_order_acquire);
	/* Without memory for a copy the environment itself has to do. */
	return variables ? variables : (const char *const *)environ;
}

bool tp_environ_has(const char *name)
{
	size_t prefix = strlen(TP_ENVIRON_PREFIX), len = strlen(name);
	for (const char *const *at = tp_environ(); *at; at++)
		if (is_ours(*at) && !strncmp(*at + prefix, name, len) &&
		    (*at)[prefix + len] == '=')
			return true;
	return false;
}

bool tp_environ_asks(void)
{
	return *tp_environ() || atomic_load(&preload_names_us);
}
