/* SPDX-License-Identifier: MIT */
#include "inert.h"

#include <errno.h>
#include <stdatomic.h>

#include "config.h"
#include "environ.h"
#include "program.h"

static const char version[] = PACKAGE_VERSION;

/*
 * The loader binds a name to the first library that has it: in all copies this one is the
 * first copy's. Asking the loader instead (dlsym) would cost an allocation where there is
 * no other.
 */
__attribute__((visibility("default"))) extern const char *const volatile truepeer_version;
const char *const volatile truepeer_version = version;

static bool is_second_copy(void)
{
	return truepeer_version != version;
}

static bool is_program_left_out(void)
{
	const struct tp_config config = {.variables = tp_environ()};
	struct tp_program program;
	if (!tp_environ_has("PROGRAMS"))
		return false;
	tp_program_identify(&program);
	return !tp_config_names_program(&config, program.names);
}

bool tp_is_inert(void)
{
	enum { UNDECIDED, ACTS, INERT };
	static atomic_int decision;
	int decided = atomic_load_explicit(&decision, memory_order_relaxed);
	if (decided == UNDECIDED) {
		/* Two threads at once come to the same decision. */
		int saved = errno;
		bool inert = is_second_copy() || is_program_left_out();
		decided = inert ? INERT : ACTS;
		atomic_store(&decision, decided);
		errno = saved;
	}
	return decided == INERT;
}
