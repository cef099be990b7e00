/* SPDX-License-Identifier: MIT */
/* What is wrong with the settings. */
#ifndef TP_MISTAKE_H
#define TP_MISTAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

struct tp_mistake {
	const char *file;    /* NULL: the variables */
	size_t line;	     /* 0: the file as a whole */
	const char *setting; /* the variable's name or the key; NULL: it has none */
	const char *word;    /* not ended by NUL; NULL: none is the culprit */
	size_t word_len;
	const char *reason;   /* or NULL, when `expected` says it all */
	const char *expected; /* or NULL */
	bool or_key;	      /* the key of another setting would have been right, too */
};

/* Who wants to know of mistakes: tell is called for each, in the order of the text. */
struct tp_mistake_sink {
	void (*tell)(void *context, const struct tp_mistake *mistake);
	void *context;
};

/* In a line: TRUEPEER_HEADER: "maybe"; expected require or optional. Pure. */
void tp_mistake_put(struct tp_text *text, const struct tp_mistake *mistake);

#endif
