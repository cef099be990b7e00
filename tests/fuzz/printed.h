/* SPDX-License-Identifier: MIT */
/* What the command prints, caught and looked at. glibc lets stdout be another stream. */
#ifndef PRINTED_H
#define PRINTED_H

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "cli/cli.h"
#include "fuzz.h"

static struct {
	FILE *usual;
	char *text;
	size_t len;
} printed;

static void begin_printing(void)
{
	printed.usual = stdout;
	stdout = open_memstream(&printed.text, &printed.len);
	LAW(stdout);
}

/* No byte that a terminal could take for more than a character. */
static void end_printing(void)
{
	LAW(!fclose(stdout));
	stdout = printed.usual;
	LAW(printed.len && printed.text[printed.len - 1] == '\n');
	for (size_t i = 0; i < printed.len; i++)
		LAW(printed.text[i] == '\n' ||
		    (printed.text[i] >= 0x20 && printed.text[i] < 0x7f));
}

/* Of src/cli/main.c; not called from here. */
int tp_cli_wrong(const char *name, const char *word, const char *complaint)
{
	(void)name, (void)word, (void)complaint;
	abort();
}

int tp_cli_help(const char *text)
{
	(void)text;
	abort();
}

int tp_cli_finish(const char *name, int status)
{
	(void)name, (void)status;
	abort();
}

/* ---- JSON (RFC 8259), from one character to the one behind ---- */

static const char *json_value(const char *at);

static const char *json_string(const char *at)
{
	LAW(*at++ == '"');
	while (*at != '"') {
		LAW(*at >= 0x20);
		if (*at++ != '\\')
			continue;
		LAW(*at && strchr("\"\\u", *at));
		for (int i = 1; *at == 'u' && i <= 4; i++)
			LAW(isxdigit((unsigned char)at[i]));
		at += *at == 'u' ? 5 : 1;
	}
	return at + 1;
}

/* Of an object or an array. */
static const char *json_members(const char *at, char end)
{
	if (*at == end)
		return at + 1;
	for (;;) {
		if (end == '}') {
			at = json_string(at);
			LAW(*at++ == ':');
			LAW(*at++ == ' ');
		}
		at = json_value(at);
		if (*at == end)
			return at + 1;
		LAW(*at++ == ',');
		LAW(*at++ == ' ');
	}
}

static const char *json_value(const char *at)
{
	static const char *const words[] = {"true", "false", "null"};
	if (*at == '{' || *at == '[')
		return json_members(at + 1, *at == '{' ? '}' : ']');
	if (*at == '"')
		return json_string(at);
	for (int i = 0; i < 3; i++)
		if (!strncmp(at, words[i], strlen(words[i])))
			return at + strlen(words[i]);
	LAW(isdigit((unsigned char)*at));
	at += strspn(at, "0123456789");
	if (*at == '.') {
		LAW(isdigit((unsigned char)*++at));
		at += strspn(at, "0123456789");
	}
	return at;
}

/* The whole text is one value, in a line. */
static void check_json(void)
{
	const char *end = json_value(printed.text);
	LAW(*end == '\n' && end + 1 == printed.text + printed.len);
}

#endif
