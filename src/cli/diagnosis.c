/* SPDX-License-Identifier: MIT */
#include "diagnosis.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "absence.h"
#include "counters.h"
#include "executable.h"
#include "native.h"
#include "program.h"
#include "rules_file.h"
#include "settings.h"
#include "text.h"

/* How long a connection may be silent before its header counts as late. */
#define LATE_MS 500

/* How many addresses a finding names. */
#define NAMED_MAX 8

/* What the examinations of one process share. */
struct subject {
	const struct tp_diagnosis *diagnosis;
	const struct tp_process *process;
	struct tp_findings *findings;
	struct tp_settings *settings; /* NULL when there is a mistake in them */
};

/* ---- the library ---- */

static void examine_library(const struct subject *subject)
{
	const struct tp_process *process = subject->process;
	if (!process->library_count)
		tp_absence_explain(subject->diagnosis, process);
	if (process->library_count > 1)
		tp_finding_add(
			subject->findings, "second-copy",
			"name one of them alone in LD_PRELOAD and "
			"/etc/ld.so.preload, and restart the server",
			"two copies of the library are mapped, %s and %s: one of "
			"them stands aside, or, if their versions differ, may wait "
			"for a header that the other has read",
			tp_finding_quote(process->libraries[0]),
			tp_finding_quote(process->libraries[1]));
}

/* ---- settings ---- */

static void tell_mistake(void *context, const char *mistake)
{
	struct subject *subject = context;
	tp_finding_add(subject->findings, "mistake",
		       "correct it and restart the server; until then no connection is "
		       "let in",
		       "a mistake in the settings: %s", mistake);
}

static void tell_no_trust(const struct subject *subject)
{
	if (subject->process && subject->process->secure)
		tp_finding_add(subject->findings, "setuid",
			       "put the rules into " TP_RULES_FILE
			       ", or take the bit or the capabilities off the file and "
			       "start it as the user it needs to be",
			       "%s gained privileges when it started (setuid, setgid or "
			       "file capabilities): no variable is believed then, and "
			       "without a rule in " TP_RULES_FILE " nothing is touched",
			       tp_finding_quote(subject->process->exe));
	else
		tp_finding_add(subject->findings, "no-trust",
			       "set TRUEPEER_TRUST to the addresses of the balancers, in "
			       "the environment of the server itself",
			       "no source is trusted: without TRUEPEER_TRUST the library "
			       "touches nothing");
}

static void examine_names(const struct subject *subject,
			  const struct tp_settings *settings,
			  const char *const *variables, const char *const *names)
{
	const char *list =
		names ? tp_settings_leave_out(settings, variables, names) : NULL;
	if (list)
		tp_finding_add(subject->findings, "left-out",
			       "add it there, or remove the list of programs, and "
			       "restart the server",
			       "%s%s does not name %s: the library does nothing in it",
			       *list == '/' ? "programs in " : "",
			       *list == '/' ? tp_finding_quote(list) : list,
			       tp_finding_quote(*names));
}

/* The names are those that the library knows the program by (program.h), ended by NULL;
 * NULL where they cannot be seen. */
static void examine_settings(struct subject *subject, const char *const *variables,
			     const char *const *names)
{
	size_t before = subject->findings->count;
	struct tp_settings *settings = tp_settings_read(variables, tell_mistake, subject);
	if (!settings)
		return;
	bool mistaken = subject->findings->count > before;
	bool trusts = tp_settings_trust_somebody(settings);
	if (!mistaken && !trusts)
		tell_no_trust(subject);
	examine_names(subject, settings, variables, names);
	if (mistaken || !trusts)
		tp_settings_free(settings);
	else
		subject->settings = settings;
}

/* The library's copy is what counts: the environment may be written over. */
static const char *const *variables_of(const struct tp_process *process)
{
	static const char *const nothing[] = {NULL};
	if (process->secure)
		return nothing;
	return (const char *const *)(process->settings ? process->settings
						       : process->variables);
}

static void examine_settings_of_process(struct subject *subject)
{
	const struct tp_process *process = subject->process;
	const char *names[3] = {tp_program_name(process->exe)};
	bool has_names = process->secure || *process->executed;
	bool is_whole = tp_process_variable(process, "LD_PRELOAD") &&
			tp_process_variable(process, "TRUEPEER_TRUST");
	if (!process->secure)
		names[1] = tp_program_name(process->executed);
	if (!process->settings && process->is_closed && !is_whole && !process->secure) {
		tp_finding_add(subject->findings, "settings-unseen", "try as root",
			       "the settings of %s cannot be seen: its memory is closed "
			       "to us",
			       tp_finding_quote(process->exe));
		return;
	}
	examine_settings(subject, variables_of(process), has_names ? names : NULL);
}

/* ---- listeners ---- */

static void put_addr(struct tp_text *text, const struct tp_addr *addr)
{
	if (text->len)
		tp_text_put(text, ", ");
	tp_text_put_addr(text, addr);
}

/* Of an address without its port. */
static void put_host(struct tp_text *text, const struct tp_addr *addr)
{
	char words[TP_ADDR_TEXT];
	tp_addr_format(addr, words);
	if (strstr(text->text, words))
		return;
	tp_text_put(text, text->len ? ", " : "");
	tp_text_put(text, words);
}

/* Whether this process has a connection that somebody else accepted: on descriptor 0. */
static bool has_inherited_connection(const struct subject *subject)
{
	char path[64], link[64];
	unsigned long inode = 0;
	snprintf(path, sizeof path, "/proc/%d/fd/0", subject->process->pid);
	ssize_t n = readlink(path, link, sizeof link - 1);
	link[n > 0 ? n : 0] = '\0';
	if (sscanf(link, "socket:[%lu]", &inode) != 1)
		return false;
	const struct tp_sockets *sockets = subject->diagnosis->sockets;
	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->list[i].inode == inode && !sockets->list[i].listening)
			return true;
	return false;
}

static void explain_no_listener(const struct subject *subject)
{
	const struct tp_settings *settings = subject->settings;
	if (settings &&
	    (tp_settings_inherit(settings) || tp_settings_trust_unix(settings)))
		return; /* it may do without */
	if (has_inherited_connection(subject))
		tp_finding_add(subject->findings, "accepted-elsewhere",
			       "set TRUEPEER_INHERITED=0 for it, see truepeer(7), or let "
			       "the server listen itself",
			       "the connection of %s was accepted by another program, as "
			       "with Accept=yes in a systemd.socket or an inetd",
			       tp_finding_quote(subject->process->exe));
	else
		tp_finding_add(subject->findings, "no-listener",
			       "examine the process that accepts: truepeer doctor --port "
			       "N finds it",
			       "%s has no TCP listener",
			       tp_finding_quote(subject->process->exe));
}

static void examine_listeners(struct subject *subject)
{
	const struct tp_sockets *sockets = subject->diagnosis->sockets;
	struct tp_text others = {0};
	size_t count = 0, in_scope = 0;
	for (size_t i = 0; i < sockets->count; i++) {
		const struct tp_socket *at = &sockets->list[i];
		if (!at->listening || !tp_process_holds(subject->process, at->inode))
			continue;
		count++;
		if (subject->settings &&
		    tp_settings_listen(subject->settings, &at->local))
			in_scope++;
		else
			put_addr(&others, &at->local);
	}
	if (!count)
		explain_no_listener(subject);
	else if (subject->settings && !in_scope)
		tp_finding_add(
			subject->findings, "no-listener-in-scope",
			"add the port to TRUEPEER_LISTEN (in a rules file: listen), "
			"or unset it, and restart the server",
			"no rule is for any of the listeners: %s", others.text);
}

/* ---- connections ---- */

/* Whether a connection came by a listener of the process: it may be a child that holds
 * the connection by now. */
static bool is_ours(const struct subject *subject, const struct tp_socket *connection)
{
	const struct tp_sockets *sockets = subject->diagnosis->sockets;
	for (size_t i = 0; i < sockets->count; i++) {
		const struct tp_socket *at = &sockets->list[i];
		if (at->listening && at->local.port == connection->local.port &&
		    tp_process_holds(subject->process, at->inode))
			return true;
	}
	return false;
}

/* The balancers of connections to listeners in scope. */
struct senders {
	size_t trusted, untrusted, late;
	struct tp_text untrusted_names, late_names;
};

static void note_sender(const struct subject *subject, const struct tp_socket *connection,
			struct senders *senders)
{
	if (!tp_settings_listen(subject->settings, &connection->local))
		return;
	if (!tp_settings_trust(subject->settings, &connection->remote,
			       &connection->local)) {
		if (senders->untrusted++ < NAMED_MAX)
			put_host(&senders->untrusted_names, &connection->remote);
		return;
	}
	senders->trusted++;
	if (!connection->received && connection->silent_ms >= LATE_MS &&
	    tp_settings_require(subject->settings, &connection->remote,
				&connection->local) &&
	    senders->late++ < NAMED_MAX)
		put_host(&senders->late_names, &connection->remote);
}

static void examine_connections(struct subject *subject)
{
	const struct tp_sockets *sockets = subject->diagnosis->sockets;
	struct senders senders = {0};
	for (size_t i = 0; i < sockets->count && subject->settings; i++)
		if (!sockets->list[i].listening && is_ours(subject, &sockets->list[i]))
			note_sender(subject, &sockets->list[i], &senders);
	if (senders.untrusted && !senders.trusted)
		tp_finding_add(subject->findings, "untrusted-sender",
			       "if these are the balancers, add them to TRUEPEER_TRUST "
			       "(in a rules file: from) and restart the server",
			       "no connection comes from a trusted source; those there "
			       "are come from %s",
			       senders.untrusted_names.text);
	if (senders.late)
		tp_finding_add(
			subject->findings, "late-header",
			"let the balancer send the header at once: on an AWS NLB "
			"set proxy_protocol_v2.client_to_server.header_placement to "
			"on_first_ack; others may send none at all (HAProxy: "
			"send-proxy-v2)",
			"the header is late: connections from %s have brought not "
			"one byte; where the server speaks first (SMTP, IMAP, FTP) "
			"both ends wait for each other",
			senders.late_names.text);
}

/* What was counted, of all listeners. */
static uint64_t sum(const struct tp_stats_file *file, enum tp_outcome outcome,
		    enum tp_reason reason)
{
	uint64_t count = 0;
	for (size_t i = 0; i <= TP_STATS_LISTENERS; i++)
		count += file->listeners[i].connections[outcome][reason];
	return count;
}

/* One connection in ten is more than scanners and probes make. */
static void examine_counters(struct subject *subject)
{
	static struct tp_stats_file file;
	char pid[16];
	snprintf(pid, sizeof pid, "%d", subject->process->pid);
	int fd = tp_counters_open_process(pid, O_RDONLY);
	bool counted = fd >= 0 && tp_counters_read(fd, &file);
	if (fd >= 0)
		close(fd);
	if (!counted)
		return;
	uint64_t proxied = sum(&file, TP_OUTCOME_PROXIED, TP_REASON_NONE);
	uint64_t missing = sum(&file, TP_OUTCOME_REJECTED, TP_REASON_NO_HEADER) +
			   sum(&file, TP_OUTCOME_REJECTED, TP_REASON_SILENT);
	uint64_t malformed = sum(&file, TP_OUTCOME_REJECTED, TP_REASON_MALFORMED) +
			     sum(&file, TP_OUTCOME_REJECTED, TP_REASON_CUT) +
			     sum(&file, TP_OUTCOME_REJECTED, TP_REASON_LATE) +
			     sum(&file, TP_OUTCOME_REJECTED, TP_REASON_VERSION);
	if (missing && missing >= proxied / 10)
		tp_finding_add(subject->findings, "missing-header",
			       "let the balancer send it (HAProxy: send-proxy-v2; nginx: "
			       "proxy_protocol on), and at once; for senders that never "
			       "do, TRUEPEER_HEADER=optional",
			       "%" PRIu64
			       " connections from trusted sources were refused "
			       "for bringing no header, and %" PRIu64 " served",
			       missing, proxied);
	if (malformed && malformed >= proxied / 10)
		tp_finding_add(subject->findings, "malformed-header",
			       "look at what the balancer sends: the log has the first "
			       "bytes, and truepeer decode explains them",
			       "%" PRIu64
			       " connections from trusted sources were refused "
			       "for a header that is broken, late or of a version not "
			       "taken, and %" PRIu64 " served",
			       malformed, proxied);
}

/* ---- the server ---- */

static void examine_ring(struct subject *subject)
{
	const struct tp_process *process = subject->process;
	if (process->has_ring && !tp_process_has_record(process))
		tp_finding_add(subject->findings, "io-uring",
			       "turn io_uring off in the server's configuration, or with "
			       "sysctl kernel.io_uring_disabled",
			       "%s uses io_uring: connections that it accepts that way "
			       "go past the library",
			       tp_finding_quote(process->exe));
}

static void examine_native(struct tp_findings *findings, pid_t pid, const char *exe,
			   char *const *arguments)
{
	struct tp_native native;
	if (!tp_native_find(pid, exe, arguments, &native))
		return;
	tp_finding_add(findings, "native",
		       "use one of the two: turn the server's own support off, or leave "
		       "the library out (or the listener out of TRUEPEER_LISTEN)",
		       "the server reads the header itself, and waits for it in vain "
		       "when the library has taken it: %s says %s",
		       *native.file ? tp_finding_quote(native.file) : "its command line",
		       tp_finding_quote(native.statement));
}

static void examine_server(struct subject *subject)
{
	const struct tp_process *process = subject->process;
	examine_native(subject->findings, process->pid, process->exe, process->arguments);
}

/* ---- all of it ---- */

/* Of a process that has the library; in the order in which a connection meets them. */
static void (*const examinations[])(struct subject *) = {
	examine_listeners, examine_connections, examine_counters,
	examine_ring,	   examine_server,
};

void tp_diagnose_process(const struct tp_diagnosis *diagnosis,
			 const struct tp_process *process)
{
	struct subject subject = {diagnosis, process, diagnosis->findings, NULL};
	examine_library(&subject);
	if (!process->library_count)
		return;
	examine_settings_of_process(&subject);
	for (size_t i = 0; i < sizeof examinations / sizeof *examinations; i++)
		examinations[i](&subject);
	tp_settings_free(subject.settings);
}

static void examine_settings_of_command(struct subject *subject,
					const struct tp_executable *program,
					const char *const *variables)
{
	char file[PATH_MAX];
	const char *names[] = {tp_program_name(program->path), NULL, NULL};
	if (realpath(program->binary, file))
		names[1] = tp_program_name(file);
	examine_settings(subject, variables, names);
}

void tp_diagnose_command(const struct tp_diagnosis *diagnosis, char *const *command,
			 const char *const *variables)
{
	static struct tp_executable program;
	struct tp_findings *findings = diagnosis->findings;
	struct subject subject = {diagnosis, NULL, findings, NULL};
	int error = tp_executable_find(*command, &program);
	if (error) {
		tp_finding_add(findings, "command", "name a program that can be started",
			       "%s: %s", tp_finding_quote(*command),
			       error == ENOENT ? "no such command" : strerror(error));
		return;
	}
	tp_executable_examine(program.binary, &program.elf, &diagnosis->library->elf,
			      findings);
	tp_executable_examine_privileges(program.binary, findings);
	examine_settings_of_command(&subject, &program, variables);
	examine_native(findings, 0, program.path, command);
	tp_settings_free(subject.settings);
}
