/* SPDX-License-Identifier: MIT */
/* The command `truepeer`: its subcommands, and what they share. */
#ifndef TP_CLI_H
#define TP_CLI_H

#include <stdio.h>

/* How a subcommand ends, unless its manual says otherwise. */
enum { TP_CLI_YES = 0, TP_CLI_NO = 1, TP_CLI_USAGE = 2 };

/* The subcommands: argv[0] is "truepeer NAME"; each returns the exit status. */
int tp_cli_check(int argc, char **argv);
int tp_cli_decode(int argc, char **argv);
int tp_cli_doctor(int argc, char **argv);
int tp_cli_run(int argc, char **argv);
int tp_cli_send(int argc, char **argv);
int tp_cli_stats(int argc, char **argv);

/*
 * One line on standard error: `truepeer SUBCOMMAND: "word": complaint`, the word escaped;
 * without a word (NULL) the complaint alone. Returns TP_CLI_USAGE.
 */
int tp_cli_wrong(const char *name, const char *word, const char *complaint);

/* Writes `usage` to standard output; returns TP_CLI_YES. */
int tp_cli_help(const char *usage);

/* TP_CLI_NO and a line on standard error when standard output could not be written, else
 * `status`. */
int tp_cli_finish(const char *name, int status);

#endif
