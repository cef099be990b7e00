/* SPDX-License-Identifier: MIT */
/*
 * Rules (config.h, rule.h) as truepeer(7) describes them, written down in many ways:
 * read, they have to say the same, and the rule for a connection has to be the one that a
 * plain model finds; with one wrong word among them the door has to be closed, for that
 * word. Input: bytes that choose the rules, how they are written, and the connections.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "config.h"
#include "fuzz.h"
#include "range.h"

#define MOST_RULES 4096
#define MOST_WORDS 4
#define PROBES 8

static struct {
	const uint8_t *at, *end;
} input;

static unsigned take(unsigned below)
{
	return input.at < input.end ? *input.at++ % below : 0;
}

/* ---- the rules, plainly ---- */

struct place {
	const char *path; /* or NULL */
	sa_family_t family;
	bool any_ip;
	uint8_t ip[16];
	unsigned first, last;
};

struct rule {
	size_t line;
	struct place places[MOST_WORDS];
	struct range sources[MOST_WORDS * 4];
	size_t place_count, source_count;
	bool trusts_unix;
	struct tp_rule says; /* in the members that single words set */
};

static struct rule rules[MOST_RULES + 1];
static size_t rule_count;

static struct rule *new_rule(size_t line)
{
	struct rule *rule = &rules[rule_count++];
	memset(rule, 0, sizeof *rule);
	rule->line = line;
	rule->says.versions[1] = rule->says.versions[2] = true;
	rule->says.timeout_ms = 3000;
	rule->says.limits.max = 4096;
	return rule;
}

static bool trusts(const struct rule *rule, const struct tp_addr *sender)
{
	for (size_t i = 0; i < rule->source_count; i++)
		if (range_holds(&rule->sources[i], sender))
			return true;
	return false;
}

static bool is_at(const struct place *place, const struct tp_addr *local)
{
	if (place->path || local->port < place->first || local->port > place->last)
		return false;
	if (place->any_ip)
		return place->family != AF_INET || local->family == AF_INET;
	return place->family == local->family &&
	       !memcmp(place->ip, local->ip, local->family == AF_INET ? 4 : 16);
}

static bool listens(const struct rule *rule, const struct tp_addr *local)
{
	for (size_t i = 0; i < rule->place_count; i++)
		if (is_at(&rule->places[i], local))
			return true;
	return !rule->place_count;
}

static bool listens_at(const struct rule *rule, const char *path)
{
	for (size_t i = 0; i < rule->place_count; i++)
		if (rule->places[i].path && !strcmp(rule->places[i].path, path))
			return true;
	return !rule->place_count;
}

/* The first that listens there and trusts the sender; else the first there that says
 * what becomes of the untrusted, if it rejects them. */
static const struct rule *find_rule(const struct tp_addr *sender,
				    const struct tp_addr *local, bool *trusted)
{
	const struct rule *judge = NULL;
	*trusted = true;
	for (size_t i = 0; i < rule_count; i++) {
		if (!listens(&rules[i], local))
			continue;
		if (trusts(&rules[i], sender))
			return &rules[i];
		if (!judge && rules[i].says.untrusted)
			judge = &rules[i];
	}
	*trusted = false;
	return judge && judge->says.untrusted == TP_UNTRUSTED_REJECT ? judge : NULL;
}

static bool trusts_any_unix(void)
{
	for (size_t i = 0; i < rule_count; i++)
		if (rules[i].trusts_unix)
			return true;
	return false;
}

static const struct rule *find_unix_rule(const char *path)
{
	for (size_t i = 0; i < rule_count; i++)
		if (rules[i].trusts_unix && listens_at(&rules[i], path))
			return &rules[i];
	return NULL;
}

/* ---- as text ---- */

static struct {
	char bytes[256 * 1024]; /* beyond half of it no rule is begun */
	size_t len, line;
	bool wide, long_; /* it has its one very long gap, and the same rule many times */
} text;

/* The one wrong word, if there is to be one. */
static struct {
	unsigned before; /* so many more words it stands; 0: not any more */
	bool wanted;
	char word[64];
	size_t len, line;
} wrong;

static void put(const char *bytes, size_t len)
{
	LAW(len <= sizeof text.bytes - text.len);
	memcpy(text.bytes + text.len, bytes, len);
	text.len += len;
}

static void put_gap(void)
{
	static const char *const gaps[] = {" ", ",", "\t", "  ", " ,\t ", ",,"};
	unsigned gap = take(64);
	put(gaps[gap % 6], strlen(gaps[gap % 6]));
	for (unsigned i = 0; gap == 63 && !text.wide && i < 5000; i++)
		put(" ", 1);
	text.wide |= gap == 63;
}

static void put_wrong(void)
{
	put(wrong.word, wrong.len);
	put_gap();
	wrong.line = text.line;
	wrong.wanted = false;
}

static void put_word(const char *word)
{
	static const char *const quotes[] = {"", "'", "\""};
	if (wrong.wanted && !wrong.before--)
		put_wrong();
	const char *quote = quotes[strpbrk(word, " #") ? 1 + take(2) : take(8) % 3];
	put(quote, strlen(quote));
	put(word, strlen(word));
	put(quote, strlen(quote));
	put_gap();
}

static void end_line(void)
{
	static const char *const ends[] = {"\n", "\r\n", "# from x '\n", "#\n\n#\n"};
	const char *end = ends[take(8) % 4];
	put(end, strlen(end));
	text.line += end[1] == '\n' && end[2] ? 3 : 1;
}

/* ---- what a word may say ---- */

static void take_ip(struct tp_addr *addr)
{
	static const uint8_t few[] = {0, 1, 0x7f, 0x80, 0xff}, nets[] = {10, 127, 192, 0},
			     nets6[] = {0x20, 0, 0xfd, 0xfe};
	memset(addr, 0, sizeof *addr);
	addr->family = take(2) ? AF_INET6 : AF_INET;
	const bool four = addr->family == AF_INET;
	addr->ip[0] = (four ? nets : nets6)[take(4)];
	addr->ip[1] = four ? few[take(5)] : addr->ip[0] ? 1 : 0;
	addr->ip[four ? 2 : 7] = few[take(5)];
	addr->ip[four ? 3 : 15] = few[take(5)];
}

/* As IPv4-mapped now and then: true. */
static bool put_ip(const struct tp_addr *addr, char out[64])
{
	bool mapped = addr->family == AF_INET && take(8) == 7;
	strcpy(out, mapped ? "::ffff:" : "");
	inet_ntop(addr->family, addr->ip, out + strlen(out), 46);
	return mapped;
}

static void add_source(struct rule *rule, const char *prefix)
{
	struct tp_addr addr;
	char ip[64];
	unsigned length = (unsigned)atoi(strchr(prefix, '/') + 1);
	size_t len = (size_t)(strchr(prefix, '/') - prefix);
	memcpy(ip, prefix, len);
	ip[len] = '\0';
	addr.family = strchr(ip, ':') ? AF_INET6 : AF_INET;
	LAW(inet_pton(addr.family, ip, addr.ip) == 1);
	rule->sources[rule->source_count++] = range_of(addr.family, addr.ip, length);
}

static void put_prefix(struct rule *rule)
{
	struct tp_addr addr;
	char word[80];
	take_ip(&addr);
	const unsigned bits = addr.family == AF_INET ? 32 : 128;
	const unsigned length = take(4) ? take(bits + 1) : bits;
	const struct range range = range_of(addr.family, addr.ip, length);
	rule->sources[rule->source_count++] = range;
	memcpy(addr.ip, range.first, 16);
	bool mapped = put_ip(&addr, word);
	if (length < bits || take(2))
		sprintf(word + strlen(word), "/%u", mapped ? 96 + length : length);
	put_word(word);
}

static void put_source(struct rule *rule)
{
	static const char *const names[] = {"loopback", "private", "all"};
	static const char *const meanings[][5] = {
		{"127.0.0.0/8", "::1/128"},
		{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"},
		{"0.0.0.0/0", "::/0"},
	};
	unsigned what = take(10);
	if (what < 3) {
		put_word(names[what]);
		for (const char *const *one = meanings[what]; *one; one++)
			add_source(rule, *one);
	} else if (what == 3) {
		put_word("unix");
		rule->trusts_unix = true;
	} else {
		put_prefix(rule);
	}
}

static const char *const paths[] = {"/run/x", "/run/a b", "/#"};

static void put_place(struct rule *rule)
{
	struct place *place = &rule->places[rule->place_count++];
	char word[128] = "", ip[64];
	struct tp_addr addr;
	unsigned what = take(8);
	memset(place, 0, sizeof *place);
	if (what == 7) {
		put_word(place->path = paths[take(3)]);
		return;
	}
	place->any_ip = what < 3;
	if (what == 1 || what == 2) {
		place->family = what == 1 ? AF_INET : AF_INET6;
		strcpy(word, what == 1 ? "0.0.0.0:" : "[::]:");
	} else if (what > 2) {
		take_ip(&addr);
		addr.ip[0] |= 1; /* no wildcard */
		place->family = addr.family;
		memcpy(place->ip, addr.ip, sizeof addr.ip);
		bool brackets = put_ip(&addr, ip) || addr.family == AF_INET6;
		sprintf(word, brackets ? "[%s]:" : "%s:", ip);
	}
	place->first = place->last = take(3) ? 20 + take(8) : 65535 - take(3);
	sprintf(word + strlen(word), "%u", place->first);
	if (take(3) == 2) {
		place->last += take(
			(unsigned)(65536 - place->first) < 9 ? 65536 - place->first : 9);
		sprintf(word + strlen(word), "-%u", place->last);
	}
	put_word(word);
}

enum single {
	HEADER,
	UNTRUSTED,
	VERSIONS,
	TIMEOUT,
	MAX_HEADER,
	DEFER,
	LOCAL,
	CHAIN,
	LENIENT,
	IPV6,
	SOCKNAME,
	SINGLES
};

static const struct {
	const char *key, *words[4];
	unsigned count;
} singles[SINGLES] = {
	[HEADER] = {"header", {"require", "optional"}, 2},
	[UNTRUSTED] = {"untrusted", {"pass", "reject"}, 2},
	[VERSIONS] = {"versions", {"1", "2"}, 2},
	[TIMEOUT] = {"timeout", {"1ms", "7", "9s", "60m"}, 4},
	[MAX_HEADER] = {"max-header", {"16", "65551"}, 2},
	[DEFER] = {"defer", {"auto", "on", "off"}, 3},
	[LOCAL] = {"local", {"accept", "reject"}, 2},
	[CHAIN] = {"chain", {"0", "16"}, 2},
	[LENIENT] = {"lenient", {"mixed-family"}, 1},
	[IPV6] = {"ipv6", {"pseudo", "report", "keep", "reject"}, 4},
	[SOCKNAME] = {"sockname", {"kernel", "header"}, 2},
};

static void put_single(struct rule *rule, enum single single)
{
	static const uint32_t times[] = {1, 7000, 9000, 3600000};
	struct tp_rule *says = &rule->says;
	const unsigned word = take(singles[single].count);
	put_word(singles[single].key);
	put_word(singles[single].words[word]);
	switch (single) {
	case HEADER:
		says->header_optional = word;
		break;
	case UNTRUSTED:
		says->untrusted = word ? TP_UNTRUSTED_REJECT : TP_UNTRUSTED_PASS;
		break;
	case VERSIONS:
		says->versions[1] = !word;
		says->versions[2] = word;
		if (take(4) == 3) {
			put_word(singles[single].words[!word]);
			says->versions[1] = says->versions[2] = true;
		}
		break;
	case TIMEOUT:
		says->timeout_ms = times[word];
		break;
	case MAX_HEADER:
		says->limits.max = word ? 65551 : 16;
		break;
	case DEFER:
		says->defer = word == 0	  ? TP_DEFER_AUTO
			      : word == 1 ? TP_DEFER_ON
					  : TP_DEFER_OFF;
		break;
	case LOCAL:
		says->reject_local = word;
		break;
	case CHAIN:
		says->chain = word ? 16 : 0;
		break;
	case LENIENT:
		says->limits.mixed_family = true;
		break;
	case IPV6:
		says->ipv6 = word == 0	 ? TP_IPV6_PSEUDO
			     : word == 1 ? TP_IPV6_REPORT
			     : word == 2 ? TP_IPV6_KEEP
					 : TP_IPV6_REJECT;
		break;
	case SOCKNAME:
		says->tells_destination = word;
		break;
	case SINGLES:
		break;
	}
}

/* ---- the file ---- */

enum { FROM = SINGLES, LISTEN, SETTINGS };

static void put_setting(struct rule *rule, unsigned setting)
{
	if (setting < SINGLES) {
		put_single(rule, (enum single)setting);
		return;
	}
	put_word(setting == FROM ? "from" : "listen");
	for (unsigned left = 1 + take(MOST_WORDS); left; left--)
		(setting == FROM ? put_source : put_place)(rule);
}

/* The same again, many times. */
static void repeat_rule(size_t start, size_t len)
{
	text.long_ = true;
	for (unsigned left = take(8) == 7 ? 16 * take(100) : take(20); left; left--) {
		if (rule_count == MOST_RULES || text.len + len > sizeof text.bytes / 2)
			break;
		rules[rule_count] = rules[rule_count - 1];
		rules[rule_count++].line = text.line++;
		put(text.bytes + start, len);
		put("\n", 1);
	}
}

static void put_rule(void)
{
	struct rule *rule = new_rule(text.line);
	unsigned seen = 0;
	const size_t start = text.len;
	for (unsigned left = 1 + take(5); left; left--) {
		unsigned setting = take(SETTINGS + 4);
		setting = setting < SETTINGS ? setting : FROM + setting % 2;
		if (!(seen >> setting & 1))
			put_setting(rule, setting);
		seen |= 1u << setting;
	}
	if (!(seen >> FROM & 1) && !rule->says.untrusted)
		put_setting(rule, FROM);
	const size_t len = text.len - start;
	const bool is_wrong = wrong.line == text.line;
	end_line();
	if (!is_wrong && !text.long_ && take(32) == 31)
		repeat_rule(start, len);
}

struct process {
	unsigned max_pending;
	bool limited;
};

static void put_process(struct process *process)
{
	char number[8];
	if (take(4) == 3) {
		process->max_pending = take(8);
		sprintf(number, "%u", process->max_pending);
		put_word("max-pending");
		put_word(number);
		end_line();
	}
	if (take(4) == 3) {
		process->limited = true;
		put_word("programs");
		put_word("smtpd");
		end_line();
	}
}

/* Wrong wherever it stands: nothing begins with "!", and programs are without "/". */
static void take_wrong(void)
{
	memset(&wrong, 0, sizeof wrong);
	unsigned len = take(40);
	if (!len)
		return;
	wrong.wanted = true;
	wrong.before = take(40);
	if (wrong.before >= 30) { /* on the last line: quotes that do not end */
		wrong.before = UINT_MAX;
		wrong.word[wrong.len++] = '\'';
	}
	wrong.word[wrong.len++] = '!';
	wrong.word[wrong.len++] = '/';
	for (; len > 1; len--) {
		char c = (char)take(256);
		wrong.word[wrong.len++] = c && strchr(" ,\t\r\n'", c) ? '.' : c;
	}
}

static void write_file(struct process *process)
{
	text.len = 0;
	text.line = 1;
	text.wide = text.long_ = false;
	rule_count = 0;
	*process = (struct process){.max_pending = 1024};
	for (unsigned left = take(12); left && text.len < sizeof text.bytes / 2; left--) {
		if (rule_count < MOST_RULES)
			put_rule();
		if (take(8) == 7)
			end_line();
	}
	put_process(process);
	if (wrong.wanted)
		put_wrong();
	else if (text.len && take(2) && text.bytes[text.len - 1] == '\n')
		text.len--; /* the last line need not end */
}

/* ---- what is read ---- */

struct reading {
	struct tp_config config;
	size_t mistakes, of_file;
	bool found; /* the wrong word */
};

static void tell(void *context, const struct tp_mistake *mistake)
{
	struct reading *reading = context;
	reading->mistakes++;
	if (!mistake->line)
		return;
	reading->of_file++;
	LAW(mistake->file == reading->config.file);
	LAW(wrong.line && mistake->line == wrong.line);
	if (!mistake->word)
		return;
	LAW(line_of(reading->config.text, mistake->word) == wrong.line);
	if (mistake->word_len >= wrong.len &&
	    !memcmp(mistake->word, wrong.word, wrong.len))
		reading->found = true;
}

/* What stands in the environment beside the file. */
struct surroundings {
	const char *variables[4];
	bool trust, stray, overrules, named;
};

static struct surroundings take_surroundings(void)
{
	struct surroundings around = {0};
	size_t count = 0;
	unsigned what = take(16);
	around.trust = what == 15;
	around.stray = what == 14;
	around.overrules = what & 1;
	around.named = what & 2;
	if (around.trust)
		around.variables[count++] = "TRUEPEER_TRUST=127.0.0.0/9 unix";
	if (around.stray)
		around.variables[count++] = "TRUEPEER_HEADER=optional";
	if (around.overrules)
		around.variables[count++] = "TRUEPEER_MAX_PENDING=77";
	if (around.named)
		around.variables[count++] = "TRUEPEER_RULES=/rules";
	return around;
}

static void check_settings(const struct rule *rule, const struct tp_rule *got)
{
	const struct tp_rule *says = &rule->says;
	LAW(got->line == rule->line && got->listen_count == rule->place_count);
	LAW(got->trusts_unix == rule->trusts_unix);
	LAW(got->header_optional == says->header_optional);
	LAW(got->reject_local == says->reject_local);
	LAW(got->versions[1] == says->versions[1]);
	LAW(got->versions[2] == says->versions[2]);
	LAW(got->timeout_ms == says->timeout_ms && got->chain == says->chain);
	LAW(got->limits.max == says->limits.max);
	LAW(got->limits.mixed_family == says->limits.mixed_family);
	LAW(got->ipv6 == says->ipv6 && got->untrusted == says->untrusted);
	LAW(got->tells_destination == says->tells_destination);
	LAW(got->defer == says->defer);
}

/* As a dual-stack socket says it. */
static struct tp_addr mapped(struct tp_addr addr)
{
	if (addr.family == AF_INET) {
		memmove(addr.ip + 12, addr.ip, 4);
		memcpy(addr.ip, mapped_net, sizeof mapped_net);
		addr.family = AF_INET6;
	}
	return addr;
}

/* An address of the rule's, or beside. */
static struct tp_addr take_sender(const struct rule *rule)
{
	struct tp_addr sender;
	take_ip(&sender);
	if (rule->source_count && take(4)) {
		const struct range *range = &rule->sources[take(16) % rule->source_count];
		const uint8_t *end = take(2) ? range->first : range->last;
		sender.family = range->family;
		memcpy(sender.ip, end, sizeof sender.ip);
		sender.ip[range->family == AF_INET ? 3 : 15] ^= (uint8_t)take(2);
	}
	return sender;
}

static struct tp_addr take_local(const struct rule *rule)
{
	struct tp_addr local;
	take_ip(&local);
	local.port = (uint16_t)(20 + take(10));
	if (rule->place_count && take(4)) {
		const struct place *place = &rule->places[take(16) % rule->place_count];
		const unsigned end = take(2) ? place->first : place->last;
		local.port = (uint16_t)(end + take(3) - 1);
		if (!place->path && !place->any_ip && take(8)) {
			local.family = place->family;
			memcpy(local.ip, place->ip, sizeof local.ip);
		}
	}
	return local;
}

static void check_match(const struct tp_policy *policy, struct tp_addr sender,
			struct tp_addr local)
{
	struct tp_match match, unsure;
	bool trusted;
	const struct rule *rule = find_rule(&sender, &local, &trusted);
	const struct tp_rule *expected = rule ? &policy->rules[rule - rules] : NULL;
	const bool dual = take(4) == 3;
	sender = dual ? mapped(sender) : sender;
	local = dual ? mapped(local) : local;
	LAW(tp_policy_match(policy, &sender, &local, &match));
	LAW(match.rule == expected && (!expected || match.trusted == trusted));
	/* Without the local address, the same or not sure. */
	if (tp_policy_match(policy, &sender, NULL, &unsure))
		LAW(unsure.rule == match.rule &&
		    (!expected || unsure.trusted == trusted));
	/* Nobody waits in the kernel for whom nobody waits here. */
	const struct tp_rule *defers = tp_policy_defers(policy, &local);
	if (defers && defers->defer != TP_DEFER_ON)
		LAW(match.rule && (!match.trusted || !match.rule->header_optional));
	if (!match.rule)
		return;
	LAW(tp_policy_listens_on(policy, &local));
	struct tp_addr any = {.family = AF_INET6, .port = local.port};
	LAW(tp_policy_listens_on(policy, &any));
}

static void check_unix_match(const struct tp_policy *policy, const char *path)
{
	const struct rule *rule = find_unix_rule(path);
	LAW(tp_policy_match_unix(policy, path, strlen(path)) ==
	    (rule ? &policy->rules[rule - rules] : NULL));
}

static void check_policy(const struct tp_policy *policy)
{
	LAW(policy->state == (rule_count ? TP_POLICY_ON : TP_POLICY_OFF));
	LAW(policy->rule_count == rule_count);
	for (size_t i = 0; i < rule_count; i++)
		check_settings(&rules[i], &policy->rules[i]);
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		check_unix_match(policy, paths[i]);
	for (unsigned i = 0; rule_count && i < PROBES; i++) {
		const struct rule *rule = &rules[take(16) % rule_count];
		check_match(policy, take_sender(rule), take_local(rule));
	}
}

static void add_variable_rule(void)
{
	struct rule *rule = new_rule(0);
	add_source(rule, "127.0.0.0/9");
	rule->trusts_unix = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct process process;
	struct tp_policy policy;
	input.at = data;
	input.end = data + size;
	take_wrong();
	write_file(&process);
	struct surroundings around = take_surroundings();
	if (around.trust)
		add_variable_rule();
	char *alone = malloc(text.len ? text.len : 1);
	LAW(alone);
	memcpy(alone, text.bytes, text.len);
	struct reading reading = {
		.config = {around.variables, "/rules", alone, text.len, NULL}};
	void *memory = malloc(tp_config_memory(&reading.config));
	LAW(memory);
	tp_config_read(&reading.config, memory, &policy,
		       (struct tp_mistake_sink){tell, &reading});
	const bool empty = around.named && !rule_count && !around.stray && !wrong.line;
	LAW(reading.found == (wrong.line != 0));
	LAW(reading.mistakes - reading.of_file == (size_t)(around.stray + empty));
	LAW((policy.state == TP_POLICY_BROKEN) == (reading.mistakes > 0));
	/* Doors that are closed only because somebody asked for them are closed, too. */
	LAW(policy.has_unix || !trusts_any_unix());
	if (!reading.mistakes) {
		LAW(policy.limited == process.limited && !policy.named);
		LAW(policy.max_pending == (around.overrules ? 77 : process.max_pending));
		check_policy(&policy);
	}
	free(memory);
	free(alone);
	return 0;
}
