/* SPDX-License-Identifier: MIT */
/* truepeer stats: shows the counters of a running server, or of one that was. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "cli.h"
#include "clock.h"
#include "counters.h"
#include "stats_file.h"

static const char usage[] =
	"Usage: truepeer stats [--json | --prometheus] [--watch[=SECONDS]] [FILE | PID]\n"
	"       truepeer stats --reset [FILE | PID]\n"
	"Shows the counters in FILE, or of a server's process; without either, in the "
	"file\n"
	"that TRUEPEER_STATS names.\n\n"
	"      --json             one JSON object\n"
	"      --prometheus       Prometheus' text format\n"
	"      --watch[=SECONDS]  again and again, every 2 seconds unless said "
	"otherwise\n"
	"      --reset            sets all counters to zero\n"
	"  -h, --help             this text\n\n"
	"Exit status: 0 done, 1 there are no such counters, 2 wrong usage.\n";

#define NAME "truepeer stats"
#define LISTENER (TP_ADDR_TEXT + 8) /* "[2001:db8::1]:25" */

static const char *const outcomes[] = {"proxied", "local", "untrusted", "rejected"};

static const struct {
	const char *label;
	unsigned outcomes; /* a bit for each that it goes with */
} reasons[] = {
#define IN(outcome) 1u << TP_OUTCOME_##outcome
#define REASON(name, label, level, outcomes, words) {label, outcomes},
#include "reasons.def"
#undef REASON
#undef IN
};

static const uint16_t limits_ms[] = {TP_STATS_LIMITS};

/* The plain twin of struct tp_stats_listener. */
struct counts {
	char name[LISTENER];
	uint64_t connections[TP_OUTCOMES][TP_REASONS];
	uint64_t waits[TP_STATS_CLASSES];
	uint64_t waited_ms;
	uint64_t headers; /* the sum of waits */
};

struct report {
	struct counts counts[TP_STATS_LISTENERS + 1];
	size_t listeners;
	uint64_t parked;
};

/* ---- reading ---- */

static bool is_number(const char *word)
{
	return *word && strlen(word) <= 10 && strspn(word, "0123456789") == strlen(word);
}

static void name_listener(const struct tp_stats_listener *listener, char *name)
{
	struct tp_addr addr = {.family = listener->family == 4 ? AF_INET : AF_INET6};
	char ip[TP_ADDR_TEXT];
	memcpy(addr.ip, listener->ip, sizeof addr.ip);
	tp_addr_format(&addr, ip);
	snprintf(name, LISTENER, addr.family == AF_INET ? "%s:%u" : "[%s]:%u", ip,
		 listener->port);
}

static struct counts *counts_of(struct report *report, const char *name)
{
	size_t i = 0;
	while (i < report->listeners && strcmp(report->counts[i].name, name))
		i++;
	if (i == report->listeners) {
		snprintf(report->counts[i].name, LISTENER, "%s", name);
		report->listeners++;
	}
	return &report->counts[i];
}

static void add_counts(struct counts *sum, const struct tp_stats_listener *listener)
{
	for (int outcome = 0; outcome < TP_OUTCOMES; outcome++)
		for (int reason = 0; reason < TP_REASONS; reason++)
			sum->connections[outcome][reason] +=
				listener->connections[outcome][reason];
	for (int class = 0; class < TP_STATS_CLASSES; class ++) {
		sum->waits[class] += listener->waits[class];
		sum->headers += listener->waits[class];
	}
	sum->waited_ms += listener->waited_ms;
}

static uint64_t total(const struct counts *counts)
{
	uint64_t sum = 0;
	for (int outcome = 0; outcome < TP_OUTCOMES; outcome++)
		for (int reason = 0; reason < TP_REASONS; reason++)
			sum += counts->connections[outcome][reason];
	return sum;
}

/* Those whose time is not over: what a process held when it died is past in a moment. */
static uint64_t count_parked(const struct tp_stats_file *file)
{
	uint64_t now = (uint64_t)tp_clock_ms() / 1000, sum = 0;
	for (size_t i = 0; i < TP_STATS_SECONDS; i++) {
		uint64_t second = file->parked[i] >> TP_STATS_COUNT_BITS;
		if (second >= now && second < now + TP_STATS_SECONDS)
			sum += file->parked[i] & TP_STATS_COUNT_MASK;
	}
	return sum;
}

static bool make_report(int fd, struct report *report)
{
	static struct tp_stats_file file;
	char name[LISTENER];
	*report = (struct report){0};
	if (!tp_counters_read(fd, &file))
		return false;
	for (size_t i = 0; i < TP_STATS_LISTENERS; i++) {
		if (file.listeners[i].state != TP_STATS_NAMED)
			continue;
		name_listener(&file.listeners[i], name);
		add_counts(counts_of(report, name), &file.listeners[i]);
	}
	add_counts(counts_of(report, "other"), &file.listeners[TP_STATS_LISTENERS]);
	if (!total(&report->counts[report->listeners - 1]))
		report->listeners--;
	report->parked = count_parked(&file);
	return true;
}

/* ---- showing ---- */

static void show_row(const char *name, const char *outcome, const char *reason,
		     uint64_t count)
{
	printf("%-24s %-10s %-10s %12" PRIu64 "\n", name, outcome, reason, count);
}

static void show_listener(const struct counts *counts)
{
	const char *name = counts->name;
	for (int outcome = 0; outcome < TP_OUTCOMES; outcome++) {
		for (int reason = 0; reason < TP_REASONS; reason++) {
			uint64_t count = counts->connections[outcome][reason];
			if (!count)
				continue;
			show_row(name, outcomes[outcome], reasons[reason].label, count);
			name = "";
		}
	}
	if (*name)
		show_row(name, "", "", 0);
	if (counts->headers)
		printf("%-24s headers came after %.3f s on average\n", "",
		       (double)counts->waited_ms / 1000 / (double)counts->headers);
}

static void show_text(const struct report *report)
{
	printf("%-24s %-10s %-10s %12s\n", "LISTENER", "OUTCOME", "REASON",
	       "CONNECTIONS");
	for (size_t i = 0; i < report->listeners; i++)
		show_listener(&report->counts[i]);
	printf("waiting for their header now: %" PRIu64 "\n", report->parked);
}

static void show_json_listener(const struct counts *counts)
{
	const char *comma = "";
	printf("{\"listener\": \"%s\", \"connections\": [", counts->name);
	for (int outcome = 0; outcome < TP_OUTCOMES; outcome++) {
		for (int reason = 0; reason < TP_REASONS; reason++) {
			if (!counts->connections[outcome][reason])
				continue;
			printf("%s{\"outcome\": \"%s\", \"reason\": \"%s\", "
			       "\"count\": %" PRIu64 "}",
			       comma, outcomes[outcome], reasons[reason].label,
			       counts->connections[outcome][reason]);
			comma = ", ";
		}
	}
	printf("], \"header_wait\": {\"count\": %" PRIu64 ", \"sum_seconds\": %.3f}}",
	       counts->headers, (double)counts->waited_ms / 1000);
}

static void show_json(const struct report *report)
{
	printf("{\"parked\": %" PRIu64 ", \"listeners\": [", report->parked);
	for (size_t i = 0; i < report->listeners; i++) {
		printf("%s", i ? ", " : "");
		show_json_listener(&report->counts[i]);
	}
	printf("]}\n");
}

static void show_metric(const char *name, const char *type, const char *help)
{
	printf("# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Zeros too, where there can be a number: a rate needs to know where it began. */
static void show_connections(const struct counts *counts)
{
	for (int outcome = 0; outcome < TP_OUTCOMES; outcome++) {
		for (int reason = 0; reason < TP_REASONS; reason++) {
			if (!(reasons[reason].outcomes >> outcome & 1))
				continue;
			printf("truepeer_connections_total{listener=\"%s\",outcome=\"%"
			       "s\"",
			       counts->name, outcomes[outcome]);
			if (*reasons[reason].label)
				printf(",reason=\"%s\"", reasons[reason].label);
			printf("} %" PRIu64 "\n", counts->connections[outcome][reason]);
		}
	}
}

static void show_waits(const struct counts *counts)
{
	uint64_t below = 0;
	for (int class = 0; class < TP_STATS_CLASSES; class ++) {
		char limit[16] = "+Inf";
		below += counts->waits[class];
		if (class < TP_STATS_CLASSES - 1)
			snprintf(limit, sizeof limit, "%g", limits_ms[class] / 1000.0);
		printf("truepeer_header_wait_seconds_bucket{listener=\"%s\",le=\"%s\"} "
		       "%" PRIu64 "\n",
		       counts->name, limit, below);
	}
	printf("truepeer_header_wait_seconds_sum{listener=\"%s\"} %.3f\n", counts->name,
	       (double)counts->waited_ms / 1000);
	printf("truepeer_header_wait_seconds_count{listener=\"%s\"} %" PRIu64 "\n",
	       counts->name, below);
}

static void show_prometheus(const struct report *report)
{
	show_metric("truepeer_connections_total", "counter",
		    "Connections by what became of them.");
	for (size_t i = 0; i < report->listeners; i++)
		show_connections(&report->counts[i]);
	show_metric("truepeer_header_wait_seconds", "histogram",
		    "Time from accept until the header was complete.");
	for (size_t i = 0; i < report->listeners; i++)
		show_waits(&report->counts[i]);
	show_metric("truepeer_parked_connections", "gauge",
		    "Connections that wait for their header now.");
	printf("truepeer_parked_connections %" PRIu64 "\n", report->parked);
}

/* ---- the command ---- */

struct options {
	void (*show)(const struct report *);
	unsigned seconds; /* 0: once */
	bool reset;
	const char *target;
};

static int no_counters(const char *target, const char *why)
{
	tp_cli_wrong(NAME, target, why);
	return TP_CLI_NO;
}

static int show(int fd, const struct options *options)
{
	static struct report report;
	do {
		if (!make_report(fd, &report))
			return no_counters(options->target, "no such counters any more");
		if (options->seconds && options->show == show_text && isatty(1))
			printf("\033[H\033[2J"); /* from the top of an empty screen */
		options->show(&report);
		if (tp_cli_finish(NAME, TP_CLI_YES) != TP_CLI_YES)
			return TP_CLI_NO;
	} while (options->seconds && !sleep(options->seconds));
	return TP_CLI_YES;
}

/* The names of the listeners stay, and what is parked. Never shorter for a moment. */
static bool reset(int fd)
{
	static const struct tp_stats_listener zero;
	const size_t from = offsetof(struct tp_stats_listener, connections);
	for (size_t i = 0; i <= TP_STATS_LISTENERS; i++) {
		size_t at = offsetof(struct tp_stats_file, listeners) + i * sizeof zero;
		if (pwrite(fd, (const char *)&zero + from, sizeof zero - from,
			   (off_t)(at + from)) < 0)
			return false;
	}
	return true;
}

static bool read_seconds(const char *word, unsigned *seconds)
{
	*seconds = word ? (unsigned)(is_number(word) ? strtoul(word, NULL, 10) : 0) : 2;
	return *seconds >= 1 && *seconds <= 86400;
}

static int run(const struct options *options)
{
	int flags = options->reset ? O_RDWR : O_RDONLY;
	const char *target = options->target;
	int fd = is_number(target) ? tp_counters_open_process(target, flags)
				   : tp_counters_open(target, flags);
	if (fd < 0 && errno != EINVAL && !is_number(target))
		return no_counters(target, strerror(errno));
	if (fd < 0)
		return no_counters(target,
				   is_number(target)
					   ? "no such process, or it counts nothing"
					   : "no file of counters of this version");
	if (!options->reset)
		return show(fd, options);
	return reset(fd) ? TP_CLI_YES : no_counters(target, strerror(errno));
}

int tp_cli_stats(int argc, char **argv)
{
	static const struct option names[] = {
		{"json", no_argument, NULL, 'j'},
		{"prometheus", no_argument, NULL, 'p'},
		{"watch", optional_argument, NULL, 'w'},
		{"reset", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options options = {.show = show_text, .target = getenv("TRUEPEER_STATS")};
	int option, formats = 0;
	while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (option) {
		case 'j':
		case 'p':
			options.show = option == 'j' ? show_json : show_prometheus;
			formats++;
			break;
		case 'w':
			if (!read_seconds(optarg, &options.seconds))
				return tp_cli_wrong(NAME, optarg,
						    "expected seconds, from 1 to 86400");
			break;
		case 'r':
			options.reset = true;
			break;
		case 'h':
			return tp_cli_help(usage);
		default:
			return TP_CLI_USAGE;
		}
	}
	if (formats > 1 || (options.reset && (formats || options.seconds)))
		return tp_cli_wrong(NAME, NULL, "these options exclude one another");
	if (argc - optind > 1)
		return tp_cli_wrong(NAME, argv[optind + 1], "one word too many");
	if (optind < argc)
		options.target = argv[optind];
	if (!options.target || !*options.target)
		return tp_cli_wrong(NAME, NULL,
				    "expected a file, a process or TRUEPEER_STATS");
	return run(&options);
}
