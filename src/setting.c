/* SPDX-License-Identifier: MIT */
#include "setting.h"

#include <string.h>
#include <sys/un.h>

#define TIMEOUT_MS_DEFAULT                                                               \
	3000 /* the specification's least: section 2, "at least 3 seconds" */
#define TIMEOUT_MS_MAX (60 * 60 * 1000)
#define MAX_HEADER_DEFAULT 4096
#define MAX_PENDING_DEFAULT 1024
#define MAX_PENDING_MAX 65536
#define CHAIN_MAX 16

_Static_assert(sizeof(struct tp_prefix) <= sizeof(struct tp_listen),
	       "TP_DRAFT_LISTS counts in tp_listen");

/* A word that is wrong, when what was expected says why. */
static const char wrong[] = "";

static bool word_is(struct tp_word word, const char *text)
{
	return strlen(text) == word.len && !memcmp(word.text, text, word.len);
}

/* Which of the texts (ended by NULL) the word is, or -1. */
static int find_choice(struct tp_word word, const char *const *texts)
{
	for (int i = 0; texts[i]; i++)
		if (word_is(word, texts[i]))
			return i;
	return -1;
}

/* Decimal digits from the start of the word, at most nine; the rest stays in *word. */
static bool take_digits(struct tp_word *word, uint32_t *number)
{
	size_t n = 0;
	*number = 0;
	while (n < word->len && n < 9 && word->text[n] >= '0' && word->text[n] <= '9')
		*number = *number * 10 + (uint32_t)(word->text[n++] - '0');
	word->text += n;
	word->len -= n;
	return n;
}

/* A whole word that is a number within the bounds. */
static const char *take_number(struct tp_word word, uint32_t least, uint32_t most,
			       uint32_t *out)
{
	uint32_t number;
	if (!take_digits(&word, &number) || word.len || number < least || number > most)
		return wrong;
	*out = number;
	return NULL;
}

static const char *add_prefix(struct tp_draft *draft, struct tp_word word)
{
	struct tp_prefix_set *trust = &draft->rule->trust;
	if (!trust->count)
		trust->prefixes = draft->lists;
	struct tp_prefix *prefix = &trust->prefixes[trust->count];
	const char *reason = tp_prefix_parse(word.text, word.len, prefix);
	if (!reason) {
		trust->count++;
		draft->lists = prefix + 1;
	}
	return reason;
}

static const char *take_trust(struct tp_draft *draft, struct tp_word word)
{
	static const char *const names[] = {"loopback", "private", "all", NULL};
	static const char *const meanings[][5] = {
		{"127.0.0.0/8", "::1/128"},
		{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
		{"0.0.0.0/0", "::/0"},
	};
	int name = find_choice(word, names);
	if (word_is(word, "unix")) {
		draft->rule->trusts_unix = true;
		return NULL;
	}
	if (name < 0)
		return add_prefix(draft, word);
	for (const char *const *text = meanings[name]; *text; text++)
		add_prefix(draft, (struct tp_word){*text, strlen(*text)});
	return NULL;
}

static bool take_port(struct tp_word *word, uint16_t *port)
{
	uint32_t number;
	bool plain = word->len && word->text[0] != '0';
	if (!plain || !take_digits(word, &number) || number > 65535)
		return false;
	*port = (uint16_t)number;
	return true;
}

/* PORT or PORT-PORT */
static bool parse_ports(struct tp_word word, struct tp_listen *listen)
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
static bool take_listen_address(struct tp_word *word, struct tp_listen *listen)
{
	static const uint8_t any_ip[16];
	const char *colon = memrchr(word->text, ':', word->len);
	if (!colon)
		return true;
	struct tp_word ip = {word->text, (size_t)(colon - word->text)};
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

static void *align(void *lists)
{
	const uintptr_t mask = _Alignof(struct tp_listen) - 1;
	return (char *)lists + (-(uintptr_t)lists & mask);
}

/* One that bind(2) takes. */
static bool is_socket_path(struct tp_word word)
{
	return word.len <= sizeof((struct sockaddr_un *)0)->sun_path &&
	       !memchr(word.text, '\0', word.len);
}

static const char *take_listen(struct tp_draft *draft, struct tp_word word)
{
	struct tp_rule *rule = draft->rule;
	struct tp_listen listen = {0};
	if (word.len && *word.text == '/') {
		if (!is_socket_path(word))
			return "no socket can have this path";
		/* No port lies in this range. */
		listen.first_port = 1;
		listen.path.text = word.text;
		listen.path.len = word.len;
	} else if (!take_listen_address(&word, &listen) || !parse_ports(word, &listen)) {
		return wrong;
	}
	if (!rule->listen_count)
		rule->listen = align(draft->lists);
	rule->listen[rule->listen_count++] = listen;
	draft->lists = rule->listen + rule->listen_count;
	return NULL;
}

static const char *take_header(struct tp_draft *draft, struct tp_word word)
{
	static const char *const texts[] = {"require", "optional", NULL};
	int choice = find_choice(word, texts);
	draft->rule->header_optional = choice == 1;
	return choice < 0 ? wrong : NULL;
}

static const char *take_untrusted(struct tp_draft *draft, struct tp_word word)
{
	static const char *const texts[] = {"pass", "reject", NULL};
	int choice = find_choice(word, texts);
	draft->rule->untrusted = (enum tp_untrusted)(choice + 1);
	return choice < 0 ? wrong : NULL;
}

static const char *take_versions(struct tp_draft *draft, struct tp_word word)
{
	static const char *const texts[] = {"1", "2", NULL};
	bool *versions = draft->rule->versions;
	int choice = find_choice(word, texts);
	if (choice < 0)
		return wrong;
	/* versions[0] marks that the default, both, has been replaced. */
	if (!versions[0])
		versions[1] = versions[2] = false;
	versions[0] = versions[choice + 1] = true;
	return NULL;
}

static const char *take_timeout(struct tp_draft *draft, struct tp_word word)
{
	static const char *const units[] = {"ms", "s", "", "m", NULL};
	static const uint32_t factors[] = {1, 1000, 1000, 60 * 1000};
	uint32_t number;
	if (!take_digits(&word, &number))
		return wrong;
	int unit = find_choice(word, units);
	if (unit < 0 || number < 1 || number > TIMEOUT_MS_MAX / factors[unit])
		return wrong;
	draft->rule->timeout_ms = number * factors[unit];
	return NULL;
}

static const char *take_max_header(struct tp_draft *draft, struct tp_word word)
{
	uint32_t number = 0;
	const char *reason =
		take_number(word, TP_HEADER_V2_MIN, TP_HEADER_V2_MAX, &number);
	draft->rule->limits.max = number;
	return reason;
}

static const char *take_max_pending(struct tp_draft *draft, struct tp_word word)
{
	return take_number(word, 0, MAX_PENDING_MAX, &draft->policy->max_pending);
}

static const char *take_defer(struct tp_draft *draft, struct tp_word word)
{
	static const char *const texts[] = {"auto", "on", "off", NULL};
	int choice = find_choice(word, texts);
	draft->rule->defer = (enum tp_defer)(choice + 1);
	return choice < 0 ? wrong : NULL;
}

static const char *take_local(struct tp_draft *draft, struct tp_word word)
{
	static const char *const texts[] = {"accept", "reject", NULL};
	int choice = find_choice(word, texts);
	draft->rule->reject_local = choice == 1;
	return choice < 0 ? wrong : NULL;
}

static const char *take_chain(struct tp_draft *draft, struct tp_word word)
{
	return take_number(word, 0, CHAIN_MAX, &draft->rule->chain);
}

static const char *take_lenient(struct tp_draft *draft, struct tp_word word)
{
	if (!word_is(word, "mixed-family"))
		return wrong;
	draft->rule->limits.mixed_family = true;
	return NULL;
}

static const char *take_ipv6(struct tp_draft *draft, struct tp_word word)
{
	static const char *const texts[] = {"pseudo", "report", "keep", "reject", NULL};
	int choice = find_choice(word, texts);
	if (choice < 0)
		return wrong;
	draft->rule->ipv6 = (enum tp_ipv6)choice;
	return NULL;
}

static const char *take_sockname(struct tp_draft *draft, struct tp_word word)
{
	static const char *const texts[] = {"kernel", "header", NULL};
	int choice = find_choice(word, texts);
	draft->rule->tells_destination = choice == 1;
	return choice < 0 ? wrong : NULL;
}

static const char *take_inherited(struct tp_draft *draft, struct tp_word word)
{
	struct tp_inherited_settings *inherited = &draft->policy->inherited;
	uint32_t number = 0;
	if (word_is(word, "listen-fds")) {
		inherited->listen_fds = true;
		return NULL;
	}
	const char *reason = take_number(word, 0, TP_INHERITED_MAX, &number);
	if (!reason)
		inherited->numbers |= (uint64_t)1 << number;
	return reason;
}

static const char *take_programs(struct tp_draft *draft, struct tp_word word)
{
	draft->policy->limited = true;
	if (memchr(word.text, '/', word.len)) {
		draft->policy->named = true; /* it may have been meant */
		return wrong;
	}
	if (draft->names && find_choice(word, draft->names) >= 0)
		draft->policy->named = true;
	return NULL;
}

static const char *take_stats(struct tp_draft *draft, struct tp_word word)
{
	if (!word.len || *word.text != '/' || memchr(word.text, '\0', word.len))
		return "the name is not absolute";
	draft->policy->stats = (struct tp_path){word.text, word.len};
	return NULL;
}

static const char *take_log(struct tp_draft *draft, struct tp_word word)
{
	static const char *const targets[] = {"stderr", "syslog", "file:", "none", NULL};
	static const char *const levels[] = {"error", "warning", "info", NULL};
	struct tp_log_settings *log = &draft->policy->log;
	int level = find_choice(word, levels);
	int target = find_choice(word, targets);
	if (level >= 0) {
		log->level = (enum tp_log_level)level;
		return NULL;
	}
	if (word.len > strlen("file:/") &&
	    !memcmp(word.text, "file:/", strlen("file:/"))) {
		log->target = TP_LOG_FILE;
		log->path.text = word.text + strlen("file:");
		log->path.len = word.len - strlen("file:");
		return memchr(word.text, '\0', word.len) ? wrong : NULL;
	}
	if (target < 0 || target == TP_LOG_FILE)
		return wrong;
	log->target = (enum tp_log_target)target;
	return NULL;
}

/* Read before all the others: tp_config_rules_file. */
static const char *take_rules(struct tp_draft *draft, struct tp_word word)
{
	(void)draft;
	return *word.text == '/' ? NULL : wrong;
}

const struct tp_setting tp_setting_table[] = {
	{"log", "TRUEPEER_LOG", true, true,
	 "stderr, syslog, file:/PATH or none, and error, warning or info", take_log},
	{"max-pending", "TRUEPEER_MAX_PENDING", true, false, "a number from 0 to 65536",
	 take_max_pending},
	{"stats", "TRUEPEER_STATS", true, false, "a file's name, such as /run/smtp.stats",
	 take_stats},
	{NULL, "TRUEPEER_INHERITED", true, true,
	 "descriptors from 0 to 63, or listen-fds", take_inherited},
	{"programs", "TRUEPEER_PROGRAMS", true, true,
	 "names of programs, without their folders", take_programs},
	{NULL, "TRUEPEER_RULES", true, false, "the absolute path of a rules file",
	 take_rules},
	{"from", "TRUEPEER_TRUST", false, true,
	 "an address, a prefix such as 10.0.0.0/8, loopback, private, all or unix",
	 take_trust},
	{"listen", "TRUEPEER_LISTEN", false, true,
	 "a port, a range such as 1000-2000, 192.0.2.1:25, [2001:db8::1]:25 or a "
	 "socket's path",
	 take_listen},
	{"header", "TRUEPEER_HEADER", false, false, "require or optional", take_header},
	{"untrusted", "TRUEPEER_UNTRUSTED", false, false, "pass or reject",
	 take_untrusted},
	{"versions", "TRUEPEER_VERSIONS", false, true, "1, 2 or both of them",
	 take_versions},
	{"timeout", "TRUEPEER_TIMEOUT", false, false,
	 "a time from 1ms to 60m, such as 3s or 500ms", take_timeout},
	{"max-header", "TRUEPEER_MAX_HEADER", false, false,
	 "a number of bytes from 16 to 65551", take_max_header},
	{"defer", "TRUEPEER_DEFER", false, false, "auto, on or off", take_defer},
	{"local", "TRUEPEER_LOCAL", false, false, "accept or reject", take_local},
	{"chain", "TRUEPEER_CHAIN", false, false, "a number from 0 to 16", take_chain},
	{"lenient", "TRUEPEER_LENIENT", false, true, "mixed-family", take_lenient},
	{"ipv6", "TRUEPEER_IPV6", false, false, "pseudo, report, keep or reject",
	 take_ipv6},
	{"sockname", "TRUEPEER_SOCKNAME", false, false, "kernel or header",
	 take_sockname},
};

const size_t tp_setting_count = sizeof tp_setting_table / sizeof *tp_setting_table;

const char tp_setting_keys[] =
	"listen, from, header, untrusted, versions, timeout, max-header, defer, local, "
	"chain, lenient, ipv6 or sockname; or log, max-pending, stats or programs on a "
	"line of its own";

const struct tp_setting *tp_setting_find(struct tp_word key)
{
	for (size_t i = 0; i < tp_setting_count; i++)
		if (tp_setting_table[i].key && word_is(key, tp_setting_table[i].key))
			return &tp_setting_table[i];
	return NULL;
}

struct tp_rule tp_setting_default_rule(void)
{
	return (struct tp_rule){.versions = {false, true, true},
				.timeout_ms = TIMEOUT_MS_DEFAULT,
				.limits = {.max = MAX_HEADER_DEFAULT}};
}

struct tp_policy tp_setting_default_policy(void)
{
	return (struct tp_policy){
		.max_pending = MAX_PENDING_DEFAULT,
		.log = {.target = TP_LOG_STDERR, .level = TP_LOG_WARNING}};
}
