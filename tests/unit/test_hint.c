/* SPDX-License-Identifier: MIT */
#include "hint.h"

#include "unit.h"

static const struct {
	const char *bytes;
	size_t len;
	const char *word; /* NULL: no hint */
} cases[] = {
#define CASE(bytes, word)                                                                \
	{                                                                                \
		bytes, sizeof bytes - 1, word                                            \
	}
	CASE("\x16\x03\x01\x02\0\x01", "TLS"),
	CASE("\x16\x03", "TLS"),
	CASE("\x16", NULL),
	CASE("\x16\x02", NULL),
	CASE("GET / HTTP/1.1\r\n", "HTTP"),
	CASE("OPTIONS * HTTP/1.0", "HTTP"),
	CASE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
	CASE("GETTING", NULL),
	CASE("SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
	CASE("EHLO example.com\r\n", "SMTP"),
	CASE("USER anonymous\r\n", "FTP"),
	CASE("\0\0\0\x08\x04\xd2\x16\x2f", "PostgreSQL"),
	CASE("\0\0\0\x08\x04\xd2\x16", NULL),
	CASE("PROXY TCP5 ", NULL),
	CASE("hello", NULL),
	CASE("", NULL),
#undef CASE
};

START_TEST(the_first_bytes_give_the_protocol_away)
{
	const uint8_t *bytes = flush_copy(cases[_i].bytes, cases[_i].len);
	const char *hint = tp_hint(bytes, cases[_i].len);
	ck_assert_int_eq(!hint, !cases[_i].word);
	if (hint)
		ck_assert_ptr_nonnull(strstr(hint, cases[_i].word));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("hint");
	tcase_add_table(tcase, the_first_bytes_give_the_protocol_away, cases);
	return run_tests("hint", tcase);
}
