/* SPDX-License-Identifier: MIT */
#include "escape.h"

#include <ctype.h>
#include <string.h>

#include "text.h"

void tp_escape_quoted(FILE *out, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	putc('"', out);
	for (size_t i = 0; i < len; i++) {
		struct tp_text one = {0};
		tp_text_put_quoted(&one, at + i, 1);
		fwrite(one.text + 1, 1, one.len - 2, out);
	}
	putc('"', out);
}

void tp_escape_shell(FILE *out, const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789_-+./:,@%";
	if (*word && !word[strspn(word, safe)]) {
		fputs(word, out);
		return;
	}
	putc('\'', out);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", out);
		else
			putc(*word, out);
	}
	putc('\'', out);
}

void tp_escape_hex(FILE *out, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		fprintf(out, "%02x", bytes[i]);
}

static int digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
	return at ? (int)(at - digits) : -1;
}

const char *tp_unescape_hex(const char *text, uint8_t *bytes, size_t *len)
{
	*len = 0;
	while (*text) {
		if (isspace((unsigned char)*text) || *text == ':') {
			text++;
			continue;
		}
		int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]);
		if (low < 0)
			return text;
		bytes[(*len)++] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return NULL;
}
