/* SPDX-License-Identifier: MIT */
/* truepeer doctor: why is the client's address still the balancer's? */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "diagnosis.h"
#include "endpoint.h"
#include "json.h"
#include "rules_file.h"

static const char usage[] =
	"Usage: truepeer doctor [--json] PID | --port N | -- COMMAND [ARGUMENT]...\n"
	"Why is the client's address still the balancer's? Looks at a running server "
	"(PID,\n"
	"or whoever listens on port N), or at a command before it is started.\n\n"
	"      --port N  the processes that listen on TCP port N\n"
	"      --json    one JSON object\n"
	"  -h, --help    this text\n\n"
	"Exit status: 0 nothing was found, 1 something was, 2 wrong usage, or there is "
	"nobody to\n"
	"look at: nobody listens on the port, no such process, or one that it may not "
	"look into.\n";

/* How often a connection's silence is looked at twice: so long it may be new. */
#define SECOND_LOOK_MS 600
#define PROCESSES_MAX 256

struct consultation {
	const char *name; /* what messages are told under */
	bool json;
	long port;	/* 0: not given */
	pid_t pid;	/* 0: not given */
	char **command; /* NULL: not given */
	struct tp_library library;
	struct tp_sockets sockets;
	struct tp_findings findings;
	struct tp_process processes[PROCESSES_MAX];
	size_t process_count;
	size_t hidden; /* processes that we may not look into */
};

static const char may_not_look[] =
	"we may not look into the process: try as root, or as its user";

static int give_up(const struct consultation *consultation, const char *word,
		   const char *why)
{
	return tp_cli_wrong(consultation->name, word, why);
}

/* ---- options ---- */

/* -1, or the exit status, as all below do. */
static int read_target(struct consultation *consultation, char **words, bool dashes)
{
	unsigned long pid;
	if (consultation->port)
		return *words ? give_up(consultation, *words, "a target beside --port")
			      : -1;
	if (!*words)
		return give_up(consultation, NULL,
			       "expected a PID, --port N or -- COMMAND");
	if (dashes) {
		consultation->command = words;
		return -1;
	}
	if (!tp_number_parse(*words, 0x7fffffff, &pid) || !pid)
		return give_up(consultation, *words,
			       "not a process ID; a command stands behind --");
	consultation->pid = (pid_t)pid;
	return words[1] ? give_up(consultation, words[1], "one process at a time") : -1;
}

static int read_options(int argc, char **argv, struct consultation *consultation)
{
	static const struct option longs[] = {{"port", required_argument, NULL, 'p'},
					      {"json", no_argument, NULL, 'j'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	for (int c; (c = getopt_long(argc, argv, "+h", longs, NULL)) != -1;) {
		unsigned long port;
		if (c == 'j')
			consultation->json = true;
		else if (c != 'p')
			return c == 'h' ? tp_cli_help(usage) : TP_CLI_USAGE;
		else if (!tp_number_parse(optarg, 65535, &port) || !port)
			return give_up(consultation, optarg,
				       "expected a port from 1 to 65535");
		else
			consultation->port = (long)port;
	}
	bool dashes = !strcmp(argv[optind - 1], "--");
	/* --json may stand behind the PID as well. */
	if (!dashes && argc - optind == 2 && !strcmp(argv[optind + 1], "--json")) {
		consultation->json = true;
		argv[optind + 1] = NULL;
	}
	return read_target(consultation, argv + optind, dashes);
}

/* ---- whom to look at ---- */

static void add_process(struct consultation *consultation, pid_t pid)
{
	struct tp_process *process =
		&consultation->processes[consultation->process_count];
	if (consultation->process_count == PROCESSES_MAX)
		return;
	int error = tp_process_read(pid, process);
	if (error == EACCES || error == EPERM)
		consultation->hidden++;
	if (!error)
		consultation->process_count++;
}

static void drop_last(struct consultation *consultation)
{
	tp_process_free(&consultation->processes[--consultation->process_count]);
}

static bool holds_listener(const struct consultation *consultation,
			   const struct tp_process *process, long port)
{
	const struct tp_sockets *sockets = &consultation->sockets;
	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->list[i].listening &&
		    (!port || sockets->list[i].local.port == port) &&
		    tp_process_holds(process, sockets->list[i].inode))
			return true;
	return false;
}

static bool descends(pid_t pid, pid_t ancestor)
{
	for (int depth = 0; pid > 0 && pid != ancestor && depth < 64; depth++)
		pid = tp_process_parent(pid);
	return pid == ancestor;
}

/* Adds those that hold a listener (with that port; 0: any) below a process (0: all). */
static void add_listeners(struct consultation *consultation, long port, pid_t ancestor)
{
	pid_t *list = tp_process_list();
	for (const pid_t *pid = list; pid && *pid; pid++) {
		size_t before = consultation->process_count;
		if (*pid == getpid() ||
		    (ancestor && (*pid == ancestor || !descends(*pid, ancestor))))
			continue;
		add_process(consultation, *pid);
		if (consultation->process_count > before &&
		    !holds_listener(consultation, &consultation->processes[before], port))
			drop_last(consultation);
	}
	free(list);
}

static int find_listeners(struct consultation *consultation)
{
	char word[16];
	const struct tp_sockets *sockets = &consultation->sockets;
	bool listens = false;
	snprintf(word, sizeof word, "%ld", consultation->port);
	for (size_t i = 0; i < sockets->count; i++)
		listens |= sockets->list[i].listening &&
			   sockets->list[i].local.port == consultation->port;
	if (!listens)
		return give_up(consultation, word, "nobody listens on this port");
	add_listeners(consultation, consultation->port, 0);
	return consultation->process_count ? -1
					   : give_up(consultation, word, may_not_look);
}

static int find_process(struct consultation *consultation)
{
	char word[16];
	snprintf(word, sizeof word, "%d", consultation->pid);
	add_process(consultation, consultation->pid);
	if (!consultation->process_count)
		return give_up(consultation, word,
			       consultation->hidden ? may_not_look : "no such process");
	if (holds_listener(consultation, consultation->processes, 0))
		return -1;
	/* A supervisor or a shell script: the servers are below. */
	add_listeners(consultation, 0, consultation->pid);
	if (consultation->process_count > 1) {
		tp_process_free(consultation->processes);
		memmove(consultation->processes, consultation->processes + 1,
			--consultation->process_count * sizeof(struct tp_process));
	}
	return -1;
}

/* ---- looking ---- */

static int list_sockets(struct consultation *consultation)
{
	free(consultation->sockets.list);
	int error = tp_sockets_list(consultation->pid, &consultation->sockets);
	if (error == ENOENT) /* no such process: told in a moment */
		return -1;
	if (error == EACCES || error == EPERM)
		return give_up(consultation, NULL, may_not_look);
	return error ? give_up(consultation, "sock_diag", strerror(error)) : -1;
}

/* Whether a connection of theirs is silent, but so young that this means nothing yet. */
static bool is_in_doubt(const struct consultation *consultation)
{
	const struct tp_sockets *sockets = &consultation->sockets;
	for (size_t i = 0; i < sockets->count; i++) {
		const struct tp_socket *at = &sockets->list[i];
		if (at->listening || at->received || at->silent_ms >= SECOND_LOOK_MS)
			continue;
		for (size_t n = 0; n < consultation->process_count; n++)
			if (holds_listener(consultation, &consultation->processes[n],
					   at->local.port))
				return true;
	}
	return false;
}

static int examine(struct consultation *consultation)
{
	const struct tp_diagnosis diagnosis = {
		&consultation->library, &consultation->sockets, &consultation->findings};
	if (consultation->command) {
		tp_diagnose_command(&diagnosis, consultation->command,
				    (const char *const *)environ);
		return -1;
	}
	int status = list_sockets(consultation);
	if (status < 0)
		status = consultation->port ? find_listeners(consultation)
					    : find_process(consultation);
	if (status < 0 && is_in_doubt(consultation)) {
		nanosleep(&(struct timespec){0, SECOND_LOOK_MS * 1000000L}, NULL);
		status = list_sockets(consultation);
	}
	for (size_t i = 0; status < 0 && i < consultation->process_count; i++)
		tp_diagnose_process(&diagnosis, &consultation->processes[i]);
	return status;
}

/* ---- telling ---- */

static void tell_json(const struct consultation *consultation)
{
	struct tp_json json = {stdout, false};
	tp_json_begin(&json, NULL, '{');
	tp_json_begin(&json, "processes", '[');
	for (size_t i = 0; i < consultation->process_count; i++) {
		tp_json_begin(&json, NULL, '{');
		tp_json_number(&json, "pid", (uint64_t)consultation->processes[i].pid);
		tp_json_string(&json, "program", consultation->processes[i].exe);
		tp_json_bool(&json, "secure", consultation->processes[i].secure);
		tp_json_end(&json, '}');
	}
	tp_json_end(&json, ']');
	tp_json_begin(&json, "findings", '[');
	for (size_t i = 0; i < consultation->findings.count; i++) {
		const struct tp_finding *finding = &consultation->findings.list[i];
		tp_json_begin(&json, NULL, '{');
		tp_json_string(&json, "cause", finding->cause);
		tp_json_string(&json, "text", finding->text);
		tp_json_string(&json, "remedy", finding->remedy);
		tp_json_end(&json, '}');
	}
	tp_json_end(&json, ']');
	tp_json_end(&json, '}');
	putchar('\n');
}

static void tell_process(const struct tp_process *process)
{
	printf("looked at process %d, %s\n", process->pid,
	       tp_finding_quote(process->exe));
	if (process->secure && process->library_count)
		puts("  in secure execution: no variable is believed, " TP_RULES_FILE
		     " alone counts");
}

static void tell_text(const struct consultation *consultation)
{
	for (size_t i = 0; i < consultation->process_count; i++)
		tell_process(&consultation->processes[i]);
	for (size_t i = 0; i < consultation->findings.count; i++) {
		const struct tp_finding *finding = &consultation->findings.list[i];
		printf("\n%s: %s\n  remedy: %s\n", finding->cause, finding->text,
		       finding->remedy);
	}
	if (!consultation->findings.count)
		puts("nothing stands in the way of the client's address");
}

int tp_cli_doctor(int argc, char **argv)
{
	static struct consultation consultation;
	consultation.name = argv[0];
	int status = read_options(argc, argv, &consultation);
	if (status >= 0)
		return status;
	/* Without the library its architecture and libc are taken to be our own. */
	if (tp_library_find(NULL, &consultation.library))
		tp_elf_read("/proc/self/exe", &consultation.library.elf);
	status = examine(&consultation);
	if (status >= 0)
		return status;
	(consultation.json ? tell_json : tell_text)(&consultation);
	return tp_cli_finish(argv[0],
			     consultation.findings.count ? TP_CLI_NO : TP_CLI_YES);
}
