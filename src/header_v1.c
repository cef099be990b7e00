/* SPDX-License-Identifier: MIT */
/* Version 1, one line of text (section 2.1). */
#include <string.h>

#include "header.h"

/* The length of the line with its CRLF, or 0 while none is there. A lone CR or LF ends
 * nothing. */
static size_t find_line(const uint8_t *buf, size_t len)
{
	size_t limit = len < TP_HEADER_V1_MAX ? len : TP_HEADER_V1_MAX;
	for (size_t i = 1; i < limit; i++)
		if (buf[i - 1] == '\r' && buf[i] == '\n')
			return i + 1;
	return 0;
}

static enum tp_verdict unfinished(const uint8_t *buf, size_t len,
				  struct tp_header *header)
{
	if (len >= TP_HEADER_V1_MAX)
		return tp_header_bad(header, TP_HEADER_V1_MAX,
				     "no CRLF within 107 bytes");
	size_t least = len + (buf[len - 1] == '\r' ? 1 : 2);
	return tp_header_more(header,
			      least < TP_HEADER_V1_MAX ? least : TP_HEADER_V1_MAX);
}

static bool parse_port(const char *text, size_t len, uint16_t *port)
{
	unsigned value = 0;
	if (len < 1 || len > 5 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	*port = (uint16_t)value;
	return value <= 65535;
}

/* The fields of the line, from one single space to the next. */
struct fields {
	const char *line;
	size_t at, end; /* the next field; where the CRLF stands */
};

static const char *next_field(struct fields *fields, size_t *len)
{
	const char *start = fields->line + fields->at;
	const char *space = memchr(start, ' ', fields->end - fields->at);
	*len = space ? (size_t)(space - start) : fields->end - fields->at;
	fields->at += *len + (space ? 1 : 0);
	return start;
}

static enum tp_verdict parse_addresses(struct fields *fields, bool mixed_family,
				       struct tp_header *header)
{
	const sa_family_t other = header->family == AF_INET ? AF_INET6 : AF_INET;
	struct tp_addr *addrs[] = {&header->src, &header->dst};
	size_t len, start;
	for (int i = 0; i < 2; i++) {
		start = fields->at;
		const char *text = next_field(fields, &len);
		bool relaxed = mixed_family && addrs[i] == &header->dst;
		if (!tp_addr_parse(text, len, header->family, addrs[i]) &&
		    !(relaxed && tp_addr_parse(text, len, other, addrs[i])))
			return tp_header_bad(header, start,
					     "not an address of its family");
	}
	for (int i = 0; i < 2; i++) {
		start = fields->at;
		const char *text = next_field(fields, &len);
		if (!parse_port(text, len, &addrs[i]->port))
			return tp_header_bad(header, start, "not a port");
	}
	if (fields->at != fields->end || fields->line[fields->end - 1] == ' ')
		return tp_header_bad(header, fields->at, "more than two ports");
	return TP_DONE;
}

enum tp_verdict tp_header_v1_parse(const uint8_t *buf, size_t len, bool mixed_family,
				   struct tp_header *header)
{
	size_t line = find_line(buf, len);
	if (!line)
		return unfinished(buf, len, header);
	header->version = 1;
	header->length = line;
	struct fields fields = {(const char *)buf, TP_HEADER_V1_MARK_SIZE, line - 2};
	size_t word_len;
	const char *word = next_field(&fields, &word_len);
	if (word_len == 7 && !memcmp(word, "UNKNOWN", 7)) {
		header->command = TP_UNKNOWN;
		return TP_DONE;
	}
	if (word_len != 4 || memcmp(word, "TCP", 3) || (word[3] != '4' && word[3] != '6'))
		return tp_header_bad(header, TP_HEADER_V1_MARK_SIZE,
				     "not TCP4, TCP6 or UNKNOWN");
	header->command = TP_PROXY;
	header->transport = TP_TRANSPORT_STREAM;
	header->family = word[3] == '4' ? AF_INET : AF_INET6;
	return parse_addresses(&fields, mixed_family, header);
}

static char *put_text(char *out, const char *text, size_t len)
{
	memcpy(out, text, len);
	return out + len;
}

static char *put_addr(char *out, const struct tp_addr *addr)
{
	char text[TP_ADDR_TEXT];
	*out++ = ' ';
	return put_text(out, text, tp_addr_format(addr, text));
}

static char *put_port(char *out, uint16_t port)
{
	char digits[5];
	size_t n = sizeof digits;
	unsigned value = port;
	do {
		digits[--n] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	*out++ = ' ';
	return put_text(out, digits + n, sizeof digits - n);
}

size_t tp_header_v1_write(const struct tp_header *header, uint8_t *buf, size_t size)
{
	/* The longest line that tp_addr_format can make: two dotted tails and two ports.
	 */
	char line[TP_HEADER_V1_MARK_SIZE + 4 + 2 * TP_ADDR_TEXT + 2 * 6 + 2];
	char *out = put_text(line, TP_HEADER_V1_MARK, TP_HEADER_V1_MARK_SIZE);
	if (tp_header_names_client(header)) {
		if (header->src.family != header->dst.family)
			return 0;
		out = put_text(out, header->src.family == AF_INET ? "TCP4" : "TCP6", 4);
		out = put_addr(out, &header->src);
		out = put_addr(out, &header->dst);
		out = put_port(out, header->src.port);
		out = put_port(out, header->dst.port);
	} else {
		out = put_text(out, "UNKNOWN", 7);
	}
	out = put_text(out, "\r\n", 2);
	size_t len = (size_t)(out - line);
	if (len > size || len > TP_HEADER_V1_MAX)
		return 0;
	memcpy(buf, line, len);
	return len;
}
