/* SPDX-License-Identifier: MIT */
/* One line of text, put together without stdio: for messages on any path. */
#ifndef TP_TEXT_H
#define TP_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"

/* What does not fit is cut off; the text always ends in a NUL. Start with {0}. */
struct tp_text {
	size_t len;
	char text[1024];
};

/* All are pure and safe in threads (on texts of their own) and signal handlers. */
void tp_text_put(struct tp_text *text, const char *words);
void tp_text_put_number(struct tp_text *text, uint64_t number);
/* "192.0.2.1:25", "[2001:db8::1]:25" */
void tp_text_put_addr(struct tp_text *text, const struct tp_addr *addr);
/* In double quotes; all but printable ASCII, the quote and the backslash as \r, \n, \t or
 * \xHH. */
void tp_text_put_quoted(struct tp_text *text, const void *bytes, size_t len);

#endif
