/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <inttypes.h>
#include <string.h>

#include "escape.h"

/* The character at bytes[0..len) and how many bytes it takes; U+FFFD for one byte that
 * begins none (RFC 3629 section 4). */
static uint32_t take_character(const uint8_t *bytes, size_t len, size_t *taken)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	size_t more = bytes[0] < 0x80	? 0
		      : bytes[0] < 0xc2 ? len
		      : bytes[0] < 0xe0 ? 1
		      : bytes[0] < 0xf0 ? 2
		      : bytes[0] < 0xf5 ? 3
					: len;
	*taken = 1;
	if (more >= len)
		return 0xfffd;
	uint32_t character = more ? bytes[0] & (0x3fu >> more) : bytes[0];
	for (size_t i = 1; i <= more; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0xfffd;
		character = character << 6 | (bytes[i] & 0x3f);
	}
	if (character < least[more] || character > 0x10ffff ||
	    (character >= 0xd800 && character < 0xe000))
		return 0xfffd;
	*taken = more + 1;
	return character;
}

static void put_character(FILE *out, uint32_t character)
{
	if (character >= 0x10000)
		fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((character - 0x10000) >> 10),
			0xdc00 + (character & 0x3ff));
	else if (character < 0x20 || character >= 0x7f)
		fprintf(out, "\\u%04x", character);
	else
		fprintf(out, character == '"' || character == '\\' ? "\\%c" : "%c",
			(char)character);
}

static void put_string(FILE *out, const uint8_t *text, size_t len)
{
	putc('"', out);
	for (size_t at = 0, taken; at < len; at += taken)
		put_character(out, take_character(text + at, len - at, &taken));
	putc('"', out);
}

static void put_key(struct tp_json *json, const char *key)
{
	if (json->more)
		fputs(", ", json->out);
	if (key)
		fprintf(json->out, "\"%s\": ", key);
	json->more = true;
}

void tp_json_begin(struct tp_json *json, const char *key, char bracket)
{
	put_key(json, key);
	putc(bracket, json->out);
	json->more = false;
}

void tp_json_end(struct tp_json *json, char bracket)
{
	putc(bracket, json->out);
	json->more = true;
}

void tp_json_text(struct tp_json *json, const char *key, const void *text, size_t len)
{
	put_key(json, key);
	put_string(json->out, text, len);
}

void tp_json_string(struct tp_json *json, const char *key, const char *text)
{
	put_key(json, key);
	if (text)
		put_string(json->out, (const uint8_t *)text, strlen(text));
	else
		fputs("null", json->out);
}

void tp_json_hex(struct tp_json *json, const char *key, const uint8_t *bytes, size_t len)
{
	put_key(json, key);
	putc('"', json->out);
	tp_escape_hex(json->out, bytes, len);
	putc('"', json->out);
}

void tp_json_number(struct tp_json *json, const char *key, uint64_t number)
{
	put_key(json, key);
	fprintf(json->out, "%" PRIu64, number);
}

void tp_json_bool(struct tp_json *json, const char *key, bool value)
{
	put_key(json, key);
	fputs(value ? "true" : "false", json->out);
}
