/* SPDX-License-Identifier: MIT */
/* Bytes that strangers chose, made fit to be shown; and bytes from the command line. */
#ifndef TP_ESCAPE_H
#define TP_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* In double quotes, all but printable ASCII escaped (see tp_text_put_quoted). */
void tp_escape_quoted(FILE *out, const void *bytes, size_t len);

/* As one word of a shell: as it is where that is safe, else in single quotes. */
void tp_escape_shell(FILE *out, const char *word);

/* Two digits a byte. */
void tp_escape_hex(FILE *out, const uint8_t *bytes, size_t len);

/*
 * Reads hexadecimal digits, two a byte; white space and colons may stand between bytes.
 * `bytes` has room for strlen(text) / 2. NULL, or where in text it is wrong.
 */
const char *tp_unescape_hex(const char *text, uint8_t *bytes, size_t *len);

#endif
