/* SPDX-License-Identifier: MIT */
/* All the settings: the variables and the rules file they lead to, read and kept. */
#ifndef TP_RULESET_H
#define TP_RULESET_H

#include "config.h"
#include "mistake.h"
#include "rule.h"
#include "rules_file.h"

/* One mapping of its own; what the policy points to is in it, or in the file. */
struct tp_ruleset {
	struct tp_policy policy;
	struct tp_rules_file *file; /* NULL: none was read */
	size_t mapped;		    /* bytes of all this */
	max_align_t lists[];
};

/*
 * Reads the variables ("TRUEPEER_NAME=value", ended by NULL) and the rules file that they
 * name, or `fixed` (TP_RULES_FILE) when they name none and trust nobody, if there is one.
 * The names are those of the program, ended by NULL; NULL: of none. Mistakes go to the
 * sink. NULL without memory. The variables must live as long as what
 * is returned. No stdio, no malloc; safe in threads and signal handlers. errno is not
 * kept.
 */
struct tp_ruleset *tp_ruleset_read(const char *const *variables, const char *const *names,
				   const char *fixed, struct tp_mistake_sink sink);

/* The same of this rules file alone, whatever its name; relative ones are allowed. */
struct tp_ruleset *tp_ruleset_read_file(const char *path, const char *fixed,
					struct tp_mistake_sink sink);

/*
 * Reads the rules file now, for what tp_ruleset_read reads later in this process from the
 * same variables: the program may have changed its root directory by then, or have given
 * up the right to read it. What was wrong with it stays wrong. False when there is none,
 * which is looked for again then. To be called once, at the start. errno is not kept.
 */
bool tp_ruleset_keep_file(const char *const *variables, const char *fixed);

/* The variables and the file that is kept, if any, as text. To be called after that. */
struct tp_config tp_ruleset_kept(const char *const *variables);

void tp_ruleset_free(struct tp_ruleset *ruleset);

#endif
