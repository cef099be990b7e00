/* SPDX-License-Identifier: MIT */
/* The settings: from the TRUEPEER_ variables to a policy. Pure: no allocation, no I/O. */
#ifndef TP_CONFIG_H
#define TP_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "policy.h"

/* The first mistake that was found; the pointers lead into the variables. */
struct tp_config_mistake {
	const char *variable; /* its name, static text */
	const char *word;     /* what is wrong */
	size_t word_len;
	const char *reason;   /* why, or NULL when `expected` says it all; static text */
	const char *expected; /* static text */
};

/* The bytes of memory that tp_config_read needs at the most. */
size_t tp_config_memory(const char *const *variables);

/*
 * Fills *policy from the variables ("TRUEPEER_NAME=value", ended by NULL); lists are laid
 * into memory, of tp_config_memory bytes, aligned for any type, which the policy then
 * uses. An empty variable counts as unset; of two with one name the first counts.
 * False on a mistake: then *mistake is set and policy->state is TP_POLICY_BROKEN; the log
 * settings hold as far as they were right.
 */
bool tp_config_read(const char *const *variables, void *memory, struct tp_policy *policy,
		    struct tp_config_mistake *mistake);

/*
 * Whether TRUEPEER_PROGRAMS lists one of the names (ended by NULL), or is not set. True
 * as well when there is a mistake in it, for tp_config_read to find.
 */
bool tp_config_names_program(const char *const *variables, const char *const *names);
/* The file of TRUEPEER_STATS alone; none where it is not set right. */
struct tp_path tp_config_stats(const char *const *variables);

/* Whether "TRUEPEER_NAME=value" is a variable that means something here. */
bool tp_config_knows(const char *variable);

#endif
