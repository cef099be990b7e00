/* SPDX-License-Identifier: MIT */
/* The settings there are, and what their words mean. Pure: no allocation, no I/O. */
#ifndef TP_SETTING_H
#define TP_SETTING_H

#include <stdbool.h>
#include <stddef.h>

#include "rule.h"

/* A piece of a setting's value; not ended by NUL. */
struct tp_word {
	const char *text;
	size_t len;
};

/* What is being written: a policy, and a rule of it. */
struct tp_draft {
	struct tp_policy *policy;
	struct tp_rule *rule;
	const char *const *names; /* of the program, ended by NULL; NULL: of none */
	void *lists; /* where the next piece of a rule's list goes; moves on */
};

/* The bytes of lists that a text of this length makes at the most. */
#define TP_DRAFT_LISTS(len) (((len) / 2 + 2) * sizeof(struct tp_listen))

struct tp_setting {
	const char *key;      /* in a rules file; NULL: it has no place there */
	const char *variable; /* TRUEPEER_NAME */
	bool process;	      /* of the whole process, not of a rule */
	bool list;	      /* takes any number of words */
	const char *expected;
	/*
	 * Takes one word. NULL when it is right, else why it is not: static text, empty
	 * when `expected` says it all.
	 */
	const char *(*take)(struct tp_draft *draft, struct tp_word word);
};

extern const struct tp_setting tp_setting_table[];
extern const size_t tp_setting_count;

/* The keys, as a message says what was expected. */
extern const char tp_setting_keys[];

/* The setting with this key, or NULL. */
const struct tp_setting *tp_setting_find(struct tp_word key);

/* What holds where nothing is said. */
struct tp_rule tp_setting_default_rule(void);
struct tp_policy tp_setting_default_policy(void);

#endif
