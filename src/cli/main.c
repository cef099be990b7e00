/* SPDX-License-Identifier: MIT */
/* truepeer(1): picks the subcommand. */
#include <errno.h>
#include <string.h>

#include "cli.h"
#include "escape.h"

static const struct {
	const char *name;
	const char *full_name; /* what getopt and messages call it */
	int (*run)(int, char **);
	const char *summary;
} subcommands[] = {
	{"run", "truepeer run", tp_cli_run, "start a server with the library"},
	{"check", "truepeer check", tp_cli_check,
	 "show the rules, or what is wrong with them"},
	{"doctor", "truepeer doctor", tp_cli_doctor,
	 "why is the client's address still the balancer's?"},
	{"decode", "truepeer decode", tp_cli_decode, "show a captured PROXY header"},
	{"stats", "truepeer stats", tp_cli_stats, "show the counters of a server"},
	{"send", "truepeer send", tp_cli_send, "connect as a client behind a balancer"},
};

#define SUBCOMMANDS (sizeof subcommands / sizeof *subcommands)

int tp_cli_wrong(const char *name, const char *word, const char *complaint)
{
	fprintf(stderr, "%s: ", name);
	if (word) {
		tp_escape_quoted(stderr, word, strlen(word));
		fputs(": ", stderr);
	}
	fprintf(stderr, "%s\n", complaint);
	return TP_CLI_USAGE;
}

int tp_cli_finish(const char *name, int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	fprintf(stderr, "%s: standard output: %s\n", name, strerror(errno));
	return TP_CLI_NO;
}

int tp_cli_help(const char *usage)
{
	fputs(usage, stdout);
	return tp_cli_finish("truepeer", TP_CLI_YES);
}

static void list(FILE *out)
{
	fputs("Usage: truepeer SUBCOMMAND [OPTION]... [ARGUMENT]...\n\n", out);
	for (size_t i = 0; i < SUBCOMMANDS; i++)
		fprintf(out, "  %-8s  %s\n", subcommands[i].name, subcommands[i].summary);
	fputs("\n\"truepeer SUBCOMMAND --help\" tells its options; see also "
	      "truepeer(1).\n",
	      out);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;
	if (!word) {
		list(stderr);
		return TP_CLI_USAGE;
	}
	for (size_t i = 0; i < SUBCOMMANDS; i++) {
		if (!strcmp(word, subcommands[i].name)) {
			argv[1] = (char *)subcommands[i].full_name;
			return subcommands[i].run(argc - 1, argv + 1);
		}
	}
	if (!strcmp(word, "--version"))
		return tp_cli_help("truepeer " PACKAGE_VERSION "\n");
	if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
		list(stdout);
		return tp_cli_finish("truepeer", TP_CLI_YES);
	}
	return tp_cli_wrong("truepeer", word,
			    "no such subcommand; \"truepeer --help\" lists them");
}
