/* SPDX-License-Identifier: MIT */
#include "text.h"

static void put_char(struct tp_text *text, char c)
{
	if (text->len + 1 < sizeof text->text) {
		text->text[text->len++] = c;
		text->text[text->len] = '\0';
	}
}

void tp_text_put(struct tp_text *text, const char *words)
{
	while (*words)
		put_char(text, *words++);
}

void tp_text_put_number(struct tp_text *text, uint64_t number)
{
	char digits[20];
	size_t n = 0;
	do {
		digits[n++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (n)
		put_char(text, digits[--n]);
}

void tp_text_put_addr(struct tp_text *text, const struct tp_addr *addr)
{
	char words[TP_ADDR_TEXT];
	tp_addr_format(addr, words);
	bool brackets = addr->family == AF_INET6;
	tp_text_put(text, brackets ? "[" : "");
	tp_text_put(text, words);
	tp_text_put(text, brackets ? "]:" : ":");
	tp_text_put_number(text, addr->port);
}

static void put_escaped(struct tp_text *text, uint8_t byte)
{
	static const char hex[] = "0123456789abcdef";
	static const char named[] = "\"\"\\\\\nn\rr\tt";
	for (const char *pair = named; *pair; pair += 2) {
		if (byte == (uint8_t)pair[0]) {
			put_char(text, '\\');
			put_char(text, pair[1]);
			return;
		}
	}
	if (byte >= 0x20 && byte < 0x7f) {
		put_char(text, (char)byte);
		return;
	}
	tp_text_put(text, "\\x");
	put_char(text, hex[byte >> 4]);
	put_char(text, hex[byte & 15]);
}

void tp_text_put_quoted(struct tp_text *text, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	put_char(text, '"');
	for (size_t i = 0; i < len; i++)
		put_escaped(text, at[i]);
	put_char(text, '"');
}
