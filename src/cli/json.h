/* SPDX-License-Identifier: MIT */
/*
 * One JSON object, written as it comes. All that is written is ASCII: other characters
 * are escaped as \uXXXX, and bytes that are not UTF-8 become U+FFFD.
 */
#ifndef TP_JSON_H
#define TP_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct tp_json {
	FILE *out;
	bool more; /* something stands before: a comma is due */
};

/* `key` is NULL in arrays and for the outermost value. `bracket` is { or [, } or ]. */
void tp_json_begin(struct tp_json *json, const char *key, char bracket);
void tp_json_end(struct tp_json *json, char bracket);
void tp_json_text(struct tp_json *json, const char *key, const void *text, size_t len);
void tp_json_string(struct tp_json *json, const char *key,
		    const char *text); /* or NULL */
void tp_json_hex(struct tp_json *json, const char *key, const uint8_t *bytes, size_t len);
void tp_json_number(struct tp_json *json, const char *key, uint64_t number);
void tp_json_bool(struct tp_json *json, const char *key, bool value);

#endif
