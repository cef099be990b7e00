/* SPDX-License-Identifier: MIT */
/* truepeer run: starts a server with the library, when that can work. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "escape.h"
#include "executable.h"
#include "library.h"
#include "settings.h"

/* As env(1) and timeout(1) have it; other statuses are the command's. */
enum { REFUSED = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

#define SETTINGS_MAX 64

static const char usage[] =
	"Usage: truepeer run [OPTION]... [--] COMMAND [ARGUMENT]...\n"
	"       truepeer run [OPTION]... --systemd UNIT\n"
	"Runs COMMAND with the library preloaded, after a look whether that can work.\n\n"
	"      --library FILE  the library, if not the one that came with this command\n"
	"      --dry-run       print what would be run\n"
	"      --systemd UNIT  print a drop-in for the unit\n"
	"  -h, --help          this text\n\n"
	"Each of these sets the variable of its name, see truepeer(7); given again, it "
	"adds\n"
	"words:\n\n";

static const char usage_end[] = "\nExit status: COMMAND's; 125 refused, 126 COMMAND "
				"cannot be executed, 127 there\n"
				"is no such command.\n";

/* Our own options, then those of the settings by their place among them. */
enum { LIBRARY = 256, DRY_RUN, SYSTEMD, FIRST /* of the settings */ };

struct request {
	const char *name; /* what messages are told under */
	struct option longs[SETTINGS_MAX + 8];
	char option_names[SETTINGS_MAX][32];
	char *values[SETTINGS_MAX]; /* what the options set, NULL: not given */
	const char *given_library, *unit;
	bool dry_run;
	char **command;
	struct tp_library library;
	struct tp_executable program;
};

static int refuse(const struct request *request, const char *word, const char *why)
{
	tp_cli_wrong(request->name, word, why);
	return REFUSED;
}

/* ---- options ---- */

/* TRUEPEER_MAX_HEADER makes max-header. */
static void name_option(const char *variable, char name[32])
{
	size_t n = 0;
	for (variable += strlen(TP_SETTINGS_PREFIX); *variable && n < 31; variable++)
		name[n++] =
			*variable == '_' ? '-' : (char)tolower((unsigned char)*variable);
	name[n] = '\0';
}

static void make_options(struct request *request)
{
	static const struct option own[] = {{"library", required_argument, NULL, LIBRARY},
					    {"dry-run", no_argument, NULL, DRY_RUN},
					    {"systemd", required_argument, NULL, SYSTEMD},
					    {"help", no_argument, NULL, 'h'},
					    {0}};
	int n = 0;
	for (const char *variable;
	     n < SETTINGS_MAX && (variable = tp_settings_variable((size_t)n)); n++) {
		name_option(variable, request->option_names[n]);
		request->longs[n] = (struct option){request->option_names[n],
						    required_argument, NULL, n + FIRST};
	}
	memcpy(request->longs + n, own, sizeof own);
}

static int help(const struct request *request)
{
	fputs(usage, stdout);
	for (const struct option *at = request->longs; at->val >= FIRST; at++)
		printf("      --%-14s%s\n", at->name,
		       tp_settings_variable((size_t)at->val - FIRST));
	return tp_cli_help(usage_end);
}

/* Sets a value, or adds to the one there is. */
static bool add_value(char **value, const char *more)
{
	char *all;
	if (asprintf(&all, "%s%s%s", *value ? *value : "", *value ? " " : "", more) < 0)
		return false;
	free(*value);
	*value = all;
	return true;
}

/* -1, or the exit status. */
static int read_options(int argc, char **argv, struct request *request)
{
	make_options(request);
	for (int c; (c = getopt_long(argc, argv, "+h", request->longs, NULL)) != -1;) {
		if (c >= FIRST && !add_value(&request->values[c - FIRST], optarg))
			return refuse(request, NULL, strerror(errno));
		if (c == LIBRARY)
			request->given_library = optarg;
		else if (c == SYSTEMD)
			request->unit = optarg;
		else if (c == DRY_RUN)
			request->dry_run = true;
		else if (c < FIRST)
			return c == 'h' ? help(request) : REFUSED;
	}
	request->command = argv + optind;
	if (request->unit && *request->command)
		return refuse(request, *request->command, "a command beside --systemd");
	if (!request->unit && !*request->command)
		return refuse(request, NULL,
			      "expected a command; \"truepeer run --help\" tells more");
	return -1;
}

/* ---- checks ---- */

static int set_environment(const struct request *request)
{
	const char *variable;
	for (size_t i = 0; i < SETTINGS_MAX && (variable = tp_settings_variable(i)); i++)
		if (request->values[i] && setenv(variable, request->values[i], 1))
			return refuse(request, variable, strerror(errno));
	return -1;
}

struct mistakes {
	const struct request *request;
	bool some;
};

static void tell_mistake(void *context, const char *mistake)
{
	struct mistakes *mistakes = context;
	tp_cli_wrong(mistakes->request->name, NULL, mistake);
	mistakes->some = true;
}

static int check_settings(const struct request *request)
{
	struct mistakes mistakes = {request, false};
	struct tp_settings *settings =
		tp_settings_read((const char *const *)environ, tell_mistake, &mistakes);
	if (!settings)
		return refuse(request, NULL, strerror(errno));
	bool trusts = tp_settings_trust_somebody(settings);
	tp_settings_free(settings);
	if (mistakes.some)
		return REFUSED;
	return trusts ? -1
		      : refuse(request, NULL,
			       "no trusted source: name the balancers' addresses, as in "
			       "--trust 10.0.0.0/8");
}

static int check_library(struct request *request)
{
	const char *why = tp_library_find(request->given_library, &request->library);
	return why ? refuse(request, request->library.path, why) : -1;
}

static int tell_unfound(const struct request *request, int error)
{
	const struct tp_executable *program = &request->program;
	const char *word = *program->binary ? program->binary : *request->command;
	tp_cli_wrong(request->name, word,
		     error == ENOENT ? "no such command" : strerror(error));
	return error == ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}

static int check_command(struct request *request)
{
	static struct tp_findings findings;
	struct tp_executable *program = &request->program;
	int error = tp_executable_find(*request->command, program);
	if (error)
		return tell_unfound(request, error);
	tp_executable_examine(program->binary, &program->elf, &request->library.elf,
			      &findings);
	tp_executable_examine_privileges(program->binary, &findings);
	for (size_t i = 0; i < findings.count; i++)
		fprintf(stderr, "%s: %s; the way out: %s\n", request->name,
			findings.list[i].text, findings.list[i].remedy);
	return findings.count ? REFUSED : -1;
}

/* ---- the environment of the command ---- */

static bool is_same_file(const char *path, size_t len, const char *real)
{
	char copy[PATH_MAX], resolved[PATH_MAX];
	snprintf(copy, sizeof copy, "%.*s", (int)len, path);
	return realpath(copy, resolved) && !strcmp(resolved, real);
}

/* Whether the list, whose words are separated by spaces and colons, has the library. */
static bool has_library(const char *list, const char *library)
{
	while (*list) {
		size_t len = strcspn(list, ": ");
		if (is_same_file(list, len, library))
			return true;
		list += len + !!list[len];
	}
	return false;
}

/* The LD_PRELOAD for the command: what is there is kept. NULL without memory. */
static char *make_preload(const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	char *preload = NULL;
	if (old && has_library(old, library))
		return strdup(old);
	bool more = old && *old;
	return asprintf(&preload, "%s%s%s", library, more ? ":" : "", more ? old : "") < 0
		       ? NULL
		       : preload;
}

static void print_assignment(const char *variable)
{
	const char *value = getenv(variable);
	if (!value)
		return;
	printf("%s=", variable);
	tp_escape_shell(stdout, value);
	putchar(' ');
}

/* A line for a shell. */
static int print_command(const struct request *request)
{
	const char *variable;
	print_assignment("LD_PRELOAD");
	for (size_t i = 0; (variable = tp_settings_variable(i)); i++)
		print_assignment(variable);
	for (char **word = request->command; *word; word++) {
		tp_escape_shell(stdout, *word);
		putchar(word[1] ? ' ' : '\n');
	}
	return tp_cli_finish(request->name, TP_CLI_YES);
}

static int run(const struct request *request)
{
	char *preload = make_preload(request->library.path);
	if (!preload || setenv("LD_PRELOAD", preload, 1))
		return refuse(request, NULL, strerror(errno));
	free(preload);
	if (request->dry_run)
		return print_command(request);
	/* execvp hands text without "#!" to a shell. */
	execvp(request->program.path, request->command);
	return tell_unfound(request, errno == ENOENT ? ENOEXEC : errno);
}

/* ---- the drop-in ---- */

/* systemd.exec(5), Environment=, and systemd.syntax(7). */
static void print_setting(const char *variable, const char *value)
{
	printf("Environment=\"%s=", variable);
	for (; *value; value++) {
		if (*value == '%')
			fputs("%%", stdout);
		else if (*value == '"' || *value == '\\')
			printf("\\%c", *value);
		else if ((unsigned char)*value < ' ')
			printf("\\x%02x", *value);
		else
			putchar(*value);
	}
	puts("\"");
}

/* The unit's name without its suffix; 0 when it is no name of a service. */
static size_t service_name(const char *unit)
{
	static const char suffix[] = ".service";
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789:_.\\@-";
	static const char *const others[] = {".socket", ".target", ".timer", ".slice",
					     ".mount",	".path",   ".scope"};
	size_t len = strlen(unit), end = strlen(suffix);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		size_t n = strlen(others[i]);
		if (len > n && !strcmp(unit + len - n, others[i]))
			return 0;
	}
	if (unit[strspn(unit, safe)] || *unit == '.')
		return 0;
	return len > end && !strcmp(unit + len - end, suffix) ? len - end : len;
}

static int print_drop_in(const struct request *request)
{
	const char *variable, *value;
	int len = (int)service_name(request->unit);
	if (!len)
		return refuse(request, request->unit,
			      "not the name of a service unit, such as vsftpd.service");
	printf("# /etc/systemd/system/%.*s.service.d/truepeer.conf\n"
	       "# then: systemctl daemon-reload && systemctl restart %.*s.service\n"
	       "[Service]\n",
	       len, request->unit, len, request->unit);
	print_setting("LD_PRELOAD", request->library.path);
	for (size_t i = 0; (variable = tp_settings_variable(i)); i++)
		if ((value = getenv(variable)) && *value)
			print_setting(variable, value);
	return tp_cli_finish(request->name, TP_CLI_YES);
}

int tp_cli_run(int argc, char **argv)
{
	static struct request request;
	request.name = argv[0];
	int status = read_options(argc, argv, &request);
	if (status < 0)
		status = set_environment(&request);
	if (status < 0)
		status = check_settings(&request);
	if (status < 0)
		status = check_library(&request);
	if (status >= 0)
		return status;
	if (request.unit)
		return print_drop_in(&request);
	status = check_command(&request);
	return status < 0 ? run(&request) : status;
}
