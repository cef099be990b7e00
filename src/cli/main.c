/* SPDX-License-Identifier: MIT */
/* truepeer(1): picks the subcommand. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "cli.h"

int tp_cli_wrong(const char *name, const char *word, const char *complaint)
{
	fprintf(stderr, "%s: %s%s%s\n", name, word ? word : "", word ? ": " : "",
		complaint);
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

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* writes say EPIPE instead */
	if (argc < 2 || strcmp(argv[1], "stats"))
		return tp_cli_wrong("truepeer", argv[1], "expected stats");
	argv[1] = (char *)"truepeer stats";
	return tp_cli_stats(argc - 1, argv + 1);
}
