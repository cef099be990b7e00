/* SPDX-License-Identifier: MIT */
/* What stands in the way of the client's address, and what helps. */
#ifndef TP_FINDINGS_H
#define TP_FINDINGS_H

#include <stddef.h>

#define TP_FINDINGS_MAX 64

struct tp_finding {
	const char *cause; /* a word for programs: "static", "no-trust", ... */
	char text[1024];   /* what was found, printable ASCII */
	const char *remedy;
};

struct tp_findings {
	struct tp_finding list[TP_FINDINGS_MAX];
	size_t count;
};

/* Adds one, unless the same is there already. cause and remedy are static text. */
void tp_finding_add(struct tp_findings *findings, const char *cause, const char *remedy,
		    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The text of a path or word for tp_finding_add, quoted; in one of four static buffers,
 * which are used in turn. */
const char *tp_finding_quote(const char *word);

#endif
