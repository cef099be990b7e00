/* SPDX-License-Identifier: MIT */
#include "real.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

static struct tp_real functions;
static atomic_bool resolved;

static int missing(void)
{
	errno = ENOSYS;
	return -1;
}

/* POSIX lets a function pointer travel in an object pointer; C does not let us cast it.
 */
static void look_up(const char *name, void *function, size_t size)
{
	void *found = dlsym(RTLD_NEXT, name);
	int (*fallback)(void) = missing;
	memcpy(function, found ? (void *)&found : (void *)&fallback, size);
}

const struct tp_real *tp_real(void)
{
	if (!atomic_load_explicit(&resolved, memory_order_acquire)) {
		/* Two threads at once write the same values. */
#define INTERPOSED(result, name, parameters)                                             \
	look_up(#name, &functions.name, sizeof functions.name);
#include "interposed.def"
#undef INTERPOSED
		atomic_store_explicit(&resolved, true, memory_order_release);
	}
	return &functions;
}
