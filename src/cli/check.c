/* SPDX-License-Identifier: MIT */
/* truepeer check: the settings as the library would read them. */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "config.h"
#include "endpoint.h"
#include "ruleset.h"

static const char usage[] =
	"Usage: truepeer check [OPTION]...\n"
	"Reads the settings as the library would and shows the rules they make.\n\n"
	"      --rules FILE    reads this rules file instead of the TRUEPEER_ variables\n"
	"      --from ADDR     which rule applies to a connection from here ...\n"
	"      --to ADDR:PORT  ... to here, and what happens to it\n"
	"  -h, --help          this text\n\n"
	"Exit status: 0 the settings are right, 1 they are not, 2 wrong usage.\n";

static const char prefix[] = "TRUEPEER_";

struct request {
	const char *name; /* what messages are told under */
	const char *rules;
	const char *from, *to;
	struct tp_addr sender, local;
};

/* ---- the table ---- */

#define SHOWN 4 /* entries of a list */

static void put_left_out(struct tp_text *text, size_t count)
{
	if (count <= SHOWN)
		return;
	tp_text_put(text, ",+");
	tp_text_put_number(text, count - SHOWN);
}

static void put_ports(struct tp_text *text, const struct tp_listen *listen)
{
	tp_text_put_number(text, listen->first_port);
	if (listen->last_port == listen->first_port)
		return;
	tp_text_put(text, "-");
	tp_text_put_number(text, listen->last_port);
}

static void put_ip(struct tp_text *text, const struct tp_addr *addr, bool brackets)
{
	char words[TP_ADDR_TEXT];
	tp_addr_format(addr, words);
	tp_text_put(text, brackets ? "[" : "");
	tp_text_put(text, words);
	tp_text_put(text, brackets ? "]" : "");
}

static void put_listen(struct tp_text *text, const struct tp_rule *rule)
{
	if (!rule->listen_count)
		tp_text_put(text, "all");
	for (size_t i = 0; i < rule->listen_count && i < SHOWN; i++) {
		const struct tp_listen *listen = &rule->listen[i];
		tp_text_put(text, i ? "," : "");
		if (listen->path.text) {
			tp_text_put_quoted(text, listen->path.text, listen->path.len);
			continue;
		}
		if (listen->addr.family != AF_UNSPEC) {
			put_ip(text, &listen->addr, listen->addr.family == AF_INET6);
			tp_text_put(text, ":");
		}
		put_ports(text, listen);
	}
	put_left_out(text, rule->listen_count);
}

static void put_from(struct tp_text *text, const struct tp_rule *rule)
{
	const struct tp_prefix_set *trust = &rule->trust;
	if (!trust->count && !rule->trusts_unix)
		tp_text_put(text, "nobody");
	if (rule->trusts_unix)
		tp_text_put(text, trust->count ? "unix," : "unix");
	for (size_t i = 0; i < trust->count && i < SHOWN; i++) {
		const struct tp_prefix *part = &trust->prefixes[i];
		struct tp_addr addr = {.family = part->family};
		memcpy(addr.ip, part->ip, sizeof addr.ip);
		tp_text_put(text, i ? "," : "");
		put_ip(text, &addr, false);
		if (part->length < 8 * tp_addr_size(part->family)) {
			tp_text_put(text, "/");
			tp_text_put_number(text, part->length);
		}
	}
	put_left_out(text, trust->count);
}

static void put_header(struct tp_text *text, const struct tp_rule *rule)
{
	tp_text_put(text, rule->header_optional ? "optional" : "require");
}

static void put_untrusted(struct tp_text *text, const struct tp_rule *rule)
{
	static const char *const words[] = {"-", "pass", "reject"};
	tp_text_put(text, words[rule->untrusted]);
}

static void put_versions(struct tp_text *text, const struct tp_rule *rule)
{
	tp_text_put(text, rule->versions[1] ? "1" : "");
	tp_text_put(text, rule->versions[1] && rule->versions[2] ? "," : "");
	tp_text_put(text, rule->versions[2] ? "2" : "");
}

static void put_timeout(struct tp_text *text, const struct tp_rule *rule)
{
	bool whole = rule->timeout_ms % 1000 == 0;
	tp_text_put_number(text, whole ? rule->timeout_ms / 1000 : rule->timeout_ms);
	tp_text_put(text, whole ? "s" : "ms");
}

static void put_max_header(struct tp_text *text, const struct tp_rule *rule)
{
	tp_text_put_number(text, rule->limits.max);
}

static void put_defer(struct tp_text *text, const struct tp_rule *rule)
{
	static const char *const words[] = {"-", "auto", "on", "off"};
	tp_text_put(text, words[rule->defer]);
}

static void put_local(struct tp_text *text, const struct tp_rule *rule)
{
	tp_text_put(text, rule->reject_local ? "reject" : "accept");
}

static void put_chain(struct tp_text *text, const struct tp_rule *rule)
{
	tp_text_put_number(text, rule->chain);
}

static void put_lenient(struct tp_text *text, const struct tp_rule *rule)
{
	tp_text_put(text, rule->limits.mixed_family ? "mixed-family" : "-");
}

static void put_ipv6(struct tp_text *text, const struct tp_rule *rule)
{
	static const char *const words[] = {"pseudo", "report", "keep", "reject"};
	tp_text_put(text, words[rule->ipv6]);
}

static void put_sockname(struct tp_text *text, const struct tp_rule *rule)
{
	tp_text_put(text, rule->tells_destination ? "header" : "kernel");
}

static void put_where(struct tp_text *text, const struct tp_rule *rule)
{
	tp_text_put(text, rule->line ? "line " : "variables");
	if (rule->line)
		tp_text_put_number(text, rule->line);
}

static const struct column {
	const char *title;
	void (*put)(struct tp_text *, const struct tp_rule *);
} columns[] = {
	{"where", put_where},	      {"listen", put_listen},
	{"from", put_from},	      {"header", put_header},
	{"untrusted", put_untrusted}, {"versions", put_versions},
	{"timeout", put_timeout},     {"max-header", put_max_header},
	{"defer", put_defer},	      {"local", put_local},
	{"chain", put_chain},	      {"lenient", put_lenient},
	{"ipv6", put_ipv6},	      {"sockname", put_sockname},
};

#define COLUMNS (sizeof columns / sizeof *columns)

static size_t width_of(const struct column *column, const struct tp_policy *policy)
{
	size_t width = strlen(column->title);
	for (size_t i = 0; i < policy->rule_count; i++) {
		struct tp_text text = {0};
		column->put(&text, &policy->rules[i]);
		if (text.len > width)
			width = text.len;
	}
	return width;
}

/* The last column is not filled up. */
static void print_cell(size_t column, size_t width, const char *text)
{
	if (column + 1 < COLUMNS)
		printf("  %-*s", (int)width, text);
	else
		printf("  %s\n", text);
}

static void print_table(const struct tp_policy *policy)
{
	size_t widths[COLUMNS];
	printf("rule");
	for (size_t i = 0; i < COLUMNS; i++) {
		widths[i] = width_of(&columns[i], policy);
		print_cell(i, widths[i], columns[i].title);
	}
	for (size_t rule = 0; rule < policy->rule_count; rule++) {
		printf("%-4zu", rule + 1);
		for (size_t i = 0; i < COLUMNS; i++) {
			struct tp_text text = {0};
			columns[i].put(&text, &policy->rules[rule]);
			print_cell(i, widths[i], text.text);
		}
	}
}

static void print_settings(const struct tp_ruleset *ruleset)
{
	static const char *const targets[] = {"stderr", "syslog", "file:", "none"};
	static const char *const levels[] = {"error", "warning", "info"};
	const struct tp_policy *policy = &ruleset->policy;
	const struct tp_log_settings *log = &policy->log;
	if (ruleset->file)
		printf("rules file   %s\n", ruleset->file->path);
	printf("log          %s%.*s %s\n", targets[log->target],
	       log->target == TP_LOG_FILE ? (int)log->path.len : 0,
	       log->path.text ? log->path.text : "", levels[log->level]);
	printf("max-pending  %u\n", (unsigned)policy->max_pending);
	printf("programs     %s\n\n", policy->limited ? "some" : "all");
	if (policy->rule_count)
		print_table(policy);
	else
		puts("no rule: nothing is touched");
}

/* ---- one connection ---- */

static void print_trusted(const struct tp_rule *rule)
{
	struct tp_text versions = {0}, timeout = {0};
	put_versions(&versions, rule);
	put_timeout(&timeout, rule);
	printf("a trusted source; its header (version %s) is read and the client in it "
	       "reported; without a header in %s it is %s",
	       versions.text, timeout.text,
	       rule->header_optional ? "served under its own address" : "reset");
	if (rule->chain)
		printf("; when the client is a trusted source itself, up to %u more may "
		       "follow",
		       (unsigned)rule->chain);
	putchar('\n');
}

static void print_match(const struct request *request, const struct tp_policy *policy)
{
	struct tp_match match;
	tp_policy_match(policy, &request->sender, &request->local, &match);
	printf("\nfrom %s to %s: ", request->from, request->to);
	if (!match.rule) {
		puts("no rule; it is served untouched, under its own address");
		return;
	}
	printf("rule %td; ", match.rule - policy->rules + 1);
	if (match.trusted)
		print_trusted(match.rule);
	else
		puts("not a trusted source; it is reset");
}

/* ---- what is read ---- */

static void print_mistake(void *context, const struct tp_mistake *mistake)
{
	struct tp_text text = {0};
	tp_mistake_put(&text, mistake);
	fprintf(stderr, "%s\n", text.text);
	*(bool *)context = true;
}

static void warn_of_unknown(char **variables)
{
	for (; *variables; variables++)
		if (!strncmp(*variables, prefix, strlen(prefix)) &&
		    !tp_config_knows(*variables))
			fprintf(stderr, "there is no variable %.*s; it is ignored\n",
				(int)strcspn(*variables, "="), *variables);
}

static int check(const struct request *request)
{
	bool wrong = false;
	const struct tp_mistake_sink sink = {print_mistake, &wrong};
	struct tp_ruleset *ruleset =
		request->rules ? tp_ruleset_read_file(request->rules, TP_RULES_FILE, sink)
			       : tp_ruleset_read((const char *const *)environ, NULL,
						 TP_RULES_FILE, sink);
	if (!ruleset)
		return tp_cli_wrong(request->name, NULL, "no memory"), TP_CLI_NO;
	if (!request->rules)
		warn_of_unknown(environ);
	if (!wrong) {
		print_settings(ruleset);
		if (request->from)
			print_match(request, &ruleset->policy);
	}
	tp_ruleset_free(ruleset);
	return wrong ? TP_CLI_NO : TP_CLI_YES;
}

/* ---- options ---- */

static bool parse_ip(const char *text, struct tp_addr *addr)
{
	size_t len = strlen(text);
	return tp_addr_parse(text, len, AF_INET, addr) ||
	       tp_addr_parse(text, len, AF_INET6, addr);
}

/* -1, or the exit status. */
static int read_endpoints(struct request *request)
{
	if (!request->from != !request->to)
		return tp_cli_wrong(request->name, NULL, "--from and --to go together");
	if (request->from && !parse_ip(request->from, &request->sender))
		return tp_cli_wrong(request->name, request->from, "not an address");
	if (request->to && !tp_endpoint_parse(request->to, &request->local))
		return tp_cli_wrong(request->name, request->to,
				    "not ADDR:PORT, such as 192.0.2.1:25 or "
				    "[2001:db8::1]:25");
	return -1;
}

static int read_options(struct request *request, int argc, char **argv)
{
	static const struct option longs[] = {{"rules", required_argument, NULL, 'r'},
					      {"from", required_argument, NULL, 'f'},
					      {"to", required_argument, NULL, 't'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int option;
	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (option) {
		case 'r':
			request->rules = optarg;
			break;
		case 'f':
			request->from = optarg;
			break;
		case 't':
			request->to = optarg;
			break;
		case 'h':
			return tp_cli_help(usage);
		default:
			return TP_CLI_USAGE;
		}
	}
	if (optind < argc)
		return tp_cli_wrong(request->name, argv[optind], "not an option");
	return read_endpoints(request);
}

int tp_cli_check(int argc, char **argv)
{
	struct request request = {.name = argv[0]};
	int status = read_options(&request, argc, argv);
	return status >= 0 ? status : tp_cli_finish(request.name, check(&request));
}
