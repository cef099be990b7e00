/* SPDX-License-Identifier: MIT */
/* From the TRUEPEER_ variables and a rules file to a policy. Pure: no allocation, no I/O.
 */
#ifndef TP_CONFIG_H
#define TP_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "mistake.h"
#include "rule.h"

/* What there is to read. */
struct tp_config {
	const char *const *variables; /* "TRUEPEER_NAME=value", ended by NULL */
	const char *file;	      /* the rules file's name, or NULL: there is none */
	const char *text;	      /* what is in it */
	size_t len;
	const char *const *names; /* of the program, ended by NULL; NULL: of none */
};

/*
 * The rules file that the variables ask for: the value of TRUEPEER_RULES if it is set,
 * `fixed` if TRUEPEER_TRUST is not set either, else NULL. Not ended where the
 * word ends: *len says where.
 */
const char *tp_config_rules_file(const char *const *variables, const char *fixed,
				 size_t *len);

/* The bytes of memory that tp_config_read needs at the most. */
size_t tp_config_memory(const struct tp_config *config);

/*
 * Fills *policy; rules and lists are laid into memory, of tp_config_memory bytes, aligned
 * for any type, which the policy then uses. The rules of the file come first, then the
 * one the variables make. A setting of the whole process counts from the variables before
 * the file. An empty variable counts as unset; of two with one name the first counts.
 *
 * Every mistake is told to the sink; after one the policy is BROKEN, with log settings
 * that hold as far as they were right. The pointers in mistakes and log settings lead
 * into the variables and the text.
 */
void tp_config_read(const struct tp_config *config, void *memory,
		    struct tp_policy *policy, struct tp_mistake_sink sink);

/*
 * Whether TRUEPEER_PROGRAMS lists one of the names (ended by NULL), or, where it is not
 * set, "programs" in the file does; or neither is there. True as well when there is a
 * mistake in it, for tp_config_read to find.
 */
bool tp_config_names_program(const struct tp_config *config, const char *const *names);

/* The file of counters alone, TRUEPEER_STATS or "stats"; none where it is not set right.
 */
struct tp_path tp_config_stats(const struct tp_config *config);

/* Whether "TRUEPEER_NAME=value" is a variable that means something here. */
bool tp_config_knows(const char *variable);

/* The name of the i-th variable, NULL behind the last. */
const char *tp_config_variable(size_t i);

#endif
