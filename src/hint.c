/* SPDX-License-Identifier: MIT */
#include "hint.h"

#include <string.h>

#define HTTP "an HTTP request: its sender puts no header before it"
#define MAIL "an SMTP client: its sender puts no header before it"

/* TLS: RFC 8446 section 5.1; SSH: RFC 4253 section 4.2; PostgreSQL: SSLRequest. */
static const struct {
	const char *start;
	size_t len;
	const char *hint;
} hints[] = {
#define HINT(start, hint)                                                                \
	{                                                                                \
		start, sizeof start - 1, hint                                            \
	}
	HINT("\x16\x03",
	     "a TLS hello: its sender puts the header within TLS, or sends none"),
	HINT("GET ", HTTP),
	HINT("HEAD ", HTTP),
	HINT("POST ", HTTP),
	HINT("PUT ", HTTP),
	HINT("OPTIONS ", HTTP),
	HINT("CONNECT ", HTTP),
	HINT("PRI * HTTP/2", HTTP),
	HINT("SSH-", "an SSH banner: its sender puts no header before it"),
	HINT("EHLO ", MAIL),
	HINT("HELO ", MAIL),
	HINT("LHLO ", MAIL),
	HINT("USER ", "an FTP or POP3 client: its sender puts no header before it"),
	HINT("\0\0\0\x08\x04\xd2\x16\x2f",
	     "a PostgreSQL client: its sender puts no header before it"),
#undef HINT
};

const char *tp_hint(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
		if (len >= hints[i].len && !memcmp(bytes, hints[i].start, hints[i].len))
			return hints[i].hint;
	return NULL;
}
