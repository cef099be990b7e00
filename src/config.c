/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <string.h>

#include "header.h"

#define TIMEOUT_MS_DEFAULT                                                               \
	3000 /* the specification's least: section 2, "at least 3 seconds" */
#define TIMEOUT_MS_MAX (60 * 60 * 1000)
#define MAX_HEADER_DEFAULT 4096
#define MAX_PENDING_DEFAULT 1024
#define MAX_PENDING_MAX 65536

/* A piece of a variable's value. */
struct word {
	const char *text;
	size_t len;
};

/* What the parsers of single variables share. */
struct reading {
	struct tp_policy *policy;
	struct tp_prefix *prefixes;
	struct tp_listen *listens;
	struct tp_config_mistake *mistake;
};

static bool is_separator(char c)
{
	return c == ' ' || c == ',' || c == '\t' || c == '\n' || c == '\r';
}

/* The next word at *at, which moves behind it; false at the end. */
static bool next_word(const char **at, struct word *word)
{
	while (is_separator(**at))
		++*at;
	word->text = *at;
	while (**at && !is_separator(**at))
		++*at;
	word->len = (size_t)(*at - word->text);
	return word->len;
}

static bool word_is(struct word word, const char *text)
{
	return strlen(text) == word.len && !memcmp(word.text, text, word.len);
}

/* Which of the texts (ended by NULL) the word is, or -1. */
static int find_choice(struct word word, const char *const *texts)
{
	for (int i = 0; texts[i]; i++)
		if (word_is(word, texts[i]))
			return i;
	return -1;
}

static bool is_wrong(struct reading *reading, struct word word, const char *reason)
{
	reading->mistake->word = word.text;
	reading->mistake->word_len = word.len;
	reading->mistake->reason = reason;
	return false;
}

/* Decimal digits from the start of the word, at most nine; the rest stays in *word. */
static bool take_number(struct word *word, uint32_t *number)
{
	size_t n = 0;
	*number = 0;
	while (n < word->len && n < 9 && word->text[n] >= '0' && word->text[n] <= '9')
		*number = *number * 10 + (uint32_t)(word->text[n++] - '0');
	word->text += n;
	word->len -= n;
	return n;
}

static void add_prefixes(struct reading *reading, const char *const *texts)
{
	struct tp_prefix_set *trust = &reading->policy->rule.trust;
	for (; *texts; texts++)
		tp_prefix_parse(*texts, strlen(*texts), &trust->prefixes[trust->count++]);
}

static bool read_trust(struct reading *reading, struct word word)
{
	static const char *const names[] = {"loopback", "private", "all", NULL};
	static const char *const meanings[][5] = {
		{"127.0.0.0/8", "::1/128"},
		{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
		{"0.0.0.0/0", "::/0"},
	};
	struct tp_prefix_set *trust = &reading->policy->rule.trust;
	if (word_is(word, "unix")) {
		reading->policy->rule.trusts_unix = true;
		return true;
	}
	trust->prefixes = reading->prefixes;
	int name = find_choice(word, names);
	if (name >= 0) {
		add_prefixes(reading, meanings[name]);
		return true;
	}
	const char *reason =
		tp_prefix_parse(word.text, word.len, &trust->prefixes[trust->count]);
	if (reason)
		return is_wrong(reading, word, reason);
	trust->count++;
	return true;
}

static bool take_port(struct word *word, uint16_t *port)
{
	uint32_t number;
	bool plain = word->len && word->text[0] != '0';
	if (!plain || !take_number(word, &number) || number > 65535)
		return false;
	*port = (uint16_t)number;
	return true;
}

/* PORT or PORT-PORT */
static bool parse_ports(struct word word, struct tp_listen *listen)
{
	if (!take_port(&word, &listen->first_port))
		return false;
	listen->last_port = listen->first_port;
	if (!word.len)
		return true;
	if (*word.text != '-')
		return false;
	word.text++;
	word.len--;
	return take_port(&word, &listen->last_port) && !word.len &&
	       listen->first_port <= listen->last_port;
}

/* ADDRESS of an "ADDRESS:" or "[ADDRESS]:"; the ports stay in *word. */
static bool take_listen_address(struct word *word, struct tp_listen *listen)
{
	static const uint8_t any_ip[16];
	const char *colon = memrchr(word->text, ':', word->len);
	if (!colon)
		return true;
	struct word ip = {word->text, (size_t)(colon - word->text)};
	bool brackets = ip.len >= 2 && ip.text[0] == '[' && ip.text[ip.len - 1] == ']';
	if (brackets) {
		ip.text++;
		ip.len -= 2;
	}
	if (!tp_addr_parse(ip.text, ip.len, brackets ? AF_INET6 : AF_INET, &listen->addr))
		return false;
	listen->addr = tp_addr_unmap(listen->addr);
	listen->any_ip = !memcmp(listen->addr.ip, any_ip, sizeof any_ip);
	word->len -= (size_t)(colon + 1 - word->text);
	word->text = colon + 1;
	return true;
}

static bool read_listen(struct reading *reading, struct word word)
{
	struct tp_rule *rule = &reading->policy->rule;
	struct tp_listen listen = {0};
	struct word ports = word;
	if (*word.text == '/') {
		/* No port lies in this range. */
		listen.first_port = 1;
		listen.path.text = word.text;
		listen.path.len = word.len;
	} else if (!take_listen_address(&ports, &listen) || !parse_ports(ports, &listen))
		return is_wrong(reading, word, NULL);
	rule->listen = reading->listens;
	rule->listen[rule->listen_count++] = listen;
	return true;
}

static bool read_choice(struct reading *reading, struct word word,
			const char *const *texts, int *choice)
{
	*choice = find_choice(word, texts);
	return *choice >= 0 || is_wrong(reading, word, NULL);
}

static bool read_header(struct reading *reading, struct word word)
{
	static const char *const texts[] = {"require", "optional", NULL};
	int choice;
	bool ok = read_choice(reading, word, texts, &choice);
	reading->policy->rule.header_optional = choice == 1;
	return ok;
}

static bool read_untrusted(struct reading *reading, struct word word)
{
	static const char *const texts[] = {"pass", "reject", NULL};
	int choice;
	bool ok = read_choice(reading, word, texts, &choice);
	reading->policy->rule.reject_untrusted = choice == 1;
	return ok;
}

static bool read_versions(struct reading *reading, struct word word)
{
	static const char *const texts[] = {"1", "2", NULL};
	bool *versions = reading->policy->rule.versions;
	int choice;
	if (!read_choice(reading, word, texts, &choice))
		return false;
	/* versions[0] marks that the default, both, has been replaced. */
	if (!versions[0])
		versions[1] = versions[2] = false;
	versions[0] = versions[choice + 1] = true;
	return true;
}

static bool read_timeout(struct reading *reading, struct word word)
{
	static const char *const units[] = {"ms", "s", "", "m", NULL};
	static const uint32_t factors[] = {1, 1000, 1000, 60 * 1000};
	struct word unit = word;
	uint32_t number;
	if (!take_number(&unit, &number))
		return is_wrong(reading, word, NULL);
	int choice = find_choice(unit, units);
	if (choice < 0 || number < 1 || number > TIMEOUT_MS_MAX / factors[choice])
		return is_wrong(reading, word, NULL);
	reading->policy->rule.timeout_ms = number * factors[choice];
	return true;
}

static bool read_max_header(struct reading *reading, struct word word)
{
	struct word rest = word;
	uint32_t number;
	if (!take_number(&rest, &number) || rest.len || number < TP_HEADER_V2_MIN ||
	    number > TP_HEADER_V2_MAX)
		return is_wrong(reading, word, NULL);
	reading->policy->rule.max_header = number;
	return true;
}

static bool read_max_pending(struct reading *reading, struct word word)
{
	struct word rest = word;
	uint32_t number;
	if (!take_number(&rest, &number) || rest.len || number > MAX_PENDING_MAX)
		return is_wrong(reading, word, NULL);
	reading->policy->rule.max_pending = number;
	return true;
}

static bool read_defer(struct reading *reading, struct word word)
{
	static const char *const texts[] = {"auto", "on", "off", NULL};
	int choice;
	bool ok = read_choice(reading, word, texts, &choice);
	reading->policy->rule.defer = ok ? (enum tp_defer)choice : TP_DEFER_AUTO;
	return ok;
}

static bool read_ipv6(struct reading *reading, struct word word)
{
	static const char *const texts[] = {"pseudo", "report", "keep", "reject", NULL};
	int choice;
	bool ok = read_choice(reading, word, texts, &choice);
	reading->policy->rule.ipv6 = ok ? (enum tp_ipv6)choice : TP_IPV6_PSEUDO;
	return ok;
}

static bool read_sockname(struct reading *reading, struct word word)
{
	static const char *const texts[] = {"kernel", "header", NULL};
	int choice;
	bool ok = read_choice(reading, word, texts, &choice);
	reading->policy->rule.tells_destination = choice == 1;
	return ok;
}

static bool read_log(struct reading *reading, struct word word)
{
	static const char *const targets[] = {"stderr", "syslog", "file:", "none", NULL};
	static const char *const levels[] = {"error", "warning", "info", NULL};
	struct tp_log_settings *log = &reading->policy->log;
	int level = find_choice(word, levels);
	int target = find_choice(word, targets);
	if (level >= 0) {
		log->level = (enum tp_log_level)level;
		return true;
	}
	if (word.len > strlen("file:/") &&
	    !memcmp(word.text, "file:/", strlen("file:/"))) {
		log->target = TP_LOG_FILE;
		log->path.text = word.text + strlen("file:");
		log->path.len = word.len - strlen("file:");
		return true;
	}
	if (target < 0 || target == TP_LOG_FILE)
		return is_wrong(reading, word, NULL);
	log->target = (enum tp_log_target)target;
	return true;
}

static bool read_inherited(struct reading *reading, struct word word)
{
	struct tp_inherited_settings *inherited = &reading->policy->inherited;
	struct word rest = word;
	uint32_t number;
	if (word_is(word, "listen-fds")) {
		inherited->listen_fds = true;
		return true;
	}
	if (!take_number(&rest, &number) || rest.len || number > TP_INHERITED_MAX)
		return is_wrong(reading, word, NULL);
	inherited->numbers |= (uint64_t)1 << number;
	return true;
}

static bool is_path(struct word word)
{
	return memchr(word.text, '/', word.len);
}

/* The names themselves are looked at earlier: tp_config_names_program. */
static bool read_programs(struct reading *reading, struct word word)
{
	return !is_path(word) || is_wrong(reading, word, NULL);
}

static bool read_stats(struct reading *reading, struct word word)
{
	if (word.text[0] != '/')
		return is_wrong(reading, word, "the name is not absolute");
	reading->policy->stats = (struct tp_path){word.text, word.len};
	return true;
}

/*
 * The log comes first, so that a mistake in the others is told in the right place; then
 * what such a mistake closes.
 */
static const struct setting {
	const char *variable;
	bool (*read)(struct reading *, struct word);
	bool list; /* takes any number of words */
	const char *expected;
} settings[] = {
	{"TRUEPEER_LOG", read_log, true,
	 "stderr, syslog, file:/PATH or none, and error, warning or info"},
	{"TRUEPEER_INHERITED", read_inherited, true,
	 "descriptors from 0 to 63, or listen-fds"},
	{"TRUEPEER_STATS", read_stats, false, "a file's name, such as /run/smtp.stats"},
	{"TRUEPEER_TRUST", read_trust, true,
	 "an address, a prefix such as 10.0.0.0/8, loopback, private, all or unix"},
	{"TRUEPEER_LISTEN", read_listen, true,
	 "a port, a range such as 1000-2000, 192.0.2.1:25, [2001:db8::1]:25 or a "
	 "socket's path"},
	{"TRUEPEER_HEADER", read_header, false, "require or optional"},
	{"TRUEPEER_UNTRUSTED", read_untrusted, false, "pass or reject"},
	{"TRUEPEER_VERSIONS", read_versions, true, "1, 2 or both of them"},
	{"TRUEPEER_TIMEOUT", read_timeout, false,
	 "a time from 1ms to 60m, such as 3s or 500ms"},
	{"TRUEPEER_MAX_HEADER", read_max_header, false,
	 "a number of bytes from 16 to 65551"},
	{"TRUEPEER_MAX_PENDING", read_max_pending, false, "a number from 0 to 65536"},
	{"TRUEPEER_DEFER", read_defer, false, "auto, on or off"},
	{"TRUEPEER_IPV6", read_ipv6, false, "pseudo, report, keep or reject"},
	{"TRUEPEER_SOCKNAME", read_sockname, false, "kernel or header"},
	{"TRUEPEER_PROGRAMS", read_programs, true,
	 "names of programs, without their folders"},
};

#define SETTINGS (sizeof settings / sizeof *settings)

/* The value, when the variable has this name. */
static const char *value_of(const char *variable, const char *name)
{
	size_t len = strlen(name);
	return !strncmp(variable, name, len) && variable[len] == '=' ? variable + len + 1
								     : NULL;
}

static const char *find_value(const char *const *variables, const char *name)
{
	const char *value = NULL;
	for (; *variables && !value; variables++)
		value = value_of(*variables, name);
	return value;
}

static bool read_setting(struct reading *reading, const struct setting *setting,
			 const char *value)
{
	struct word word;
	reading->mistake->variable = setting->variable;
	reading->mistake->expected = setting->expected;
	for (int words = 0; next_word(&value, &word); words++) {
		if (words && !setting->list)
			return is_wrong(reading, word, "one word too many");
		if (!setting->read(reading, word))
			return false;
	}
	return true;
}

static size_t longest(const char *const *variables, const char *name)
{
	const char *value = find_value(variables, name);
	/* Each word is one character and a separator at the least; "all" makes two
	 * prefixes. */
	return value ? strlen(value) / 2 + 1 : 0;
}

size_t tp_config_memory(const char *const *variables)
{
	return longest(variables, "TRUEPEER_TRUST") * sizeof(struct tp_prefix) +
	       longest(variables, "TRUEPEER_LISTEN") * sizeof(struct tp_listen);
}

bool tp_config_read(const char *const *variables, void *memory, struct tp_policy *policy,
		    struct tp_config_mistake *mistake)
{
	struct tp_listen *listens = memory;
	struct reading reading = {
		.policy = policy,
		.listens = listens,
		.prefixes = (void *)(listens + longest(variables, "TRUEPEER_LISTEN")),
		.mistake = mistake,
	};
	*policy = (struct tp_policy){
		.state = TP_POLICY_BROKEN,
		.rule = {.versions = {false, true, true},
			 .timeout_ms = TIMEOUT_MS_DEFAULT,
			 .max_header = MAX_HEADER_DEFAULT,
			 .max_pending = MAX_PENDING_DEFAULT,
			 .defer = TP_DEFER_AUTO},
		.log = {.target = TP_LOG_STDERR, .level = TP_LOG_WARNING},
	};
	for (size_t i = 0; i < SETTINGS; i++) {
		const char *value = find_value(variables, settings[i].variable);
		if (value && !read_setting(&reading, &settings[i], value))
			return false;
	}
	tp_prefix_set_finish(&policy->rule.trust);
	bool trusts = policy->rule.trust.count || policy->rule.trusts_unix;
	policy->state = trusts ? TP_POLICY_ON : TP_POLICY_OFF;
	return true;
}

struct tp_path tp_config_stats(const char *const *variables)
{
	const char *value = find_value(variables, "TRUEPEER_STATS");
	struct word word = {0}, more;
	bool right = value && next_word(&value, &word) && word.text[0] == '/' &&
		     !next_word(&value, &more);
	return right ? (struct tp_path){word.text, word.len} : (struct tp_path){0};
}

bool tp_config_knows(const char *variable)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (value_of(variable, settings[i].variable))
			return true;
	return false;
}

bool tp_config_names_program(const char *const *variables, const char *const *names)
{
	const char *value = find_value(variables, "TRUEPEER_PROGRAMS");
	struct word word;
	bool any = false;
	for (; value && next_word(&value, &word); any = true)
		if (is_path(word) || find_choice(word, names) >= 0)
			return true;
	return !any;
}
