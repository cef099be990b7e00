/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <ctype.h>
#include <stdalign.h>
#include <stdio.h>

#include "header.h"
#include "setting.h"
#include "unit.h"

#define UNTOUCHED 0xa5

struct result {
	struct tp_policy policy;
	struct tp_mistake mistakes[16];
	size_t count; /* of mistakes */
	bool ok;
};

static void collect(void *context, const struct tp_mistake *mistake)
{
	struct result *result = context;
	if (result->count < COUNT(result->mistakes))
		result->mistakes[result->count] = *mistake;
	result->count++;
}

/*
 * Reads with exactly the memory that was asked for: what lies behind it stays untouched.
 * The rules and lists are good until the next call.
 */
static struct result read_config(const struct tp_config *config)
{
	struct result result;
	size_t size = tp_config_memory(config);
	size_t slack = (alignof(max_align_t) - size % alignof(max_align_t)) %
		       alignof(max_align_t);
	uint8_t *memory = flush_room(size + slack);
	memset(memory, UNTOUCHED, size + slack);
	memset(&result, UNTOUCHED, sizeof result);
	result.count = 0;
	tp_config_read(config, memory, &result.policy,
		       (struct tp_mistake_sink){collect, &result});
	for (size_t i = 0; i < slack; i++)
		ck_assert_uint_eq(memory[size + i], UNTOUCHED);
	result.ok = !result.count;
	ck_assert(result.ok == (result.policy.state != TP_POLICY_BROKEN));
	return result;
}

static struct result read_all(const char *const *variables)
{
	return read_config(&(struct tp_config){.variables = variables});
}

static struct result read_one(const char *variable)
{
	const char *const variables[] = {variable, NULL};
	return read_all(variables);
}

/* With variables, ended by NULL, beside the file. */
static struct result read_both(const char *const *variables, const char *text, size_t len)
{
	return read_config(&(struct tp_config){variables, "/r", text, len, NULL});
}

static struct result read_file(const char *text)
{
	static const char *const variables[] = {"TRUEPEER_RULES=/r", NULL};
	return read_both(variables, text, strlen(text));
}

/* The rule that TRUST=loopback and the other variable make. */
static struct tp_rule rule_of(const char *variable)
{
	const char *const variables[] = {"TRUEPEER_TRUST=loopback", variable, NULL};
	struct result result = read_all(variables);
	ck_assert_msg(result.ok, "%s", variable);
	ck_assert_int_eq(result.policy.state, TP_POLICY_ON);
	ck_assert_uint_eq(result.policy.rule_count, 1);
	return result.policy.rules[0];
}

static bool rule_trusts(const struct tp_rule *rule, const char *text)
{
	struct tp_addr addr = {0};
	ck_assert(tp_addr_parse(text, strlen(text), AF_INET, &addr) ||
		  tp_addr_parse(text, strlen(text), AF_INET6, &addr));
	return tp_prefix_set_contains(&rule->trust, &addr);
}

static bool trusts(const struct tp_policy *policy, const char *text)
{
	return rule_trusts(&policy->rules[0], text);
}

static void assert_word(const struct tp_mistake *mistake, const char *word)
{
	ck_assert_uint_eq(mistake->word_len, strlen(word));
	ck_assert_mem_eq(mistake->word, word, strlen(word));
}

/* ---- defaults ---- */

static void assert_default_rule(const struct tp_rule *rule)
{
	ck_assert_uint_eq(rule->listen_count, 0);
	ck_assert(!rule->header_optional);
	ck_assert_int_eq(rule->untrusted, TP_UNTRUSTED_UNSAID);
	ck_assert_int_eq(rule->defer, TP_DEFER_UNSAID);
	ck_assert(!rule->reject_local);
	ck_assert_uint_eq(rule->chain, 0);
	ck_assert(!rule->limits.mixed_family);
	ck_assert(rule->versions[1] && rule->versions[2]);
	ck_assert_uint_eq(rule->timeout_ms, 3000);
	ck_assert_uint_eq(rule->limits.max, 4096);
	ck_assert_int_eq(rule->ipv6, TP_IPV6_PSEUDO);
	ck_assert(!rule->trusts_unix);
	ck_assert(!rule->tells_destination);
}

START_TEST(without_variables_nothing_is_touched)
{
	const char *const none[] = {NULL};
	struct result result = read_all(none);
	ck_assert(result.ok);
	ck_assert_int_eq(result.policy.state, TP_POLICY_OFF);
	ck_assert_uint_eq(result.policy.rule_count, 0);
	ck_assert_uint_eq(result.policy.max_pending, 1024);
	ck_assert_int_eq(result.policy.log.target, TP_LOG_STDERR);
	ck_assert_int_eq(result.policy.log.level, TP_LOG_WARNING);
}
END_TEST

START_TEST(trust_alone_leaves_the_defaults)
{
	struct result result = read_one("TRUEPEER_TRUST=10.0.0.0/8");
	ck_assert(result.ok);
	ck_assert_int_eq(result.policy.state, TP_POLICY_ON);
	assert_default_rule(&result.policy.rules[0]);
}
END_TEST

START_TEST(without_trust_the_others_are_read_all_the_same)
{
	ck_assert_int_eq(read_one("TRUEPEER_TIMEOUT=5s").policy.state, TP_POLICY_OFF);
	ck_assert_int_eq(read_one("TRUEPEER_TIMEOUT=x").policy.state, TP_POLICY_BROKEN);
}
END_TEST

static const char *const names[] = {
	"TRUST",      "LISTEN",	 "HEADER", "UNTRUSTED",	  "VERSIONS", "TIMEOUT",
	"MAX_HEADER", "IPV6",	 "LOG",	   "MAX_PENDING", "DEFER",    "LOCAL",
	"CHAIN",      "LENIENT", "RULES",  "SOCKNAME",	  "PROGRAMS", "INHERITED"};
static const char *const empty[] = {"", " ", ",", " ,\t\r\n, "};

START_TEST(an_empty_variable_counts_as_unset)
{
	char variable[64];
	snprintf(variable, sizeof variable, "TRUEPEER_%s=%s",
		 names[_i % (int)COUNT(names)], empty[_i / (int)COUNT(names)]);
	struct result result = read_one(variable);
	ck_assert(result.ok);
	ck_assert_int_eq(result.policy.state, TP_POLICY_OFF);
	ck_assert_uint_eq(result.policy.rule_count, 0);
	ck_assert_int_eq(result.policy.log.target, TP_LOG_STDERR);
}
END_TEST

START_TEST(the_variables_there_are_are_known)
{
	char variable[64];
	snprintf(variable, sizeof variable, "TRUEPEER_%s=", names[_i]);
	ck_assert(tp_config_knows(variable));
	*strchr(variable, '=') = 'X';
	ck_assert(!tp_config_knows(variable));
	variable[strlen(variable) - 1] = '\0';
	ck_assert(!tp_config_knows(variable));
	variable[strlen(variable) - 1] = '=';
	ck_assert(!tp_config_knows(variable));
}
END_TEST

START_TEST(other_variables_are_not_looked_at)
{
	const char *const variables[] = {"TRUEPEER_TRUSTED=x",
					 "TRUEPEER_TRUS=x",
					 "XTRUEPEER_TRUST=x",
					 "truepeer_trust=x",
					 "TRUEPEER_=x",
					 "TRUEPEER_TRUST",
					 NULL};
	struct result result = read_all(variables);
	ck_assert(result.ok);
	ck_assert_int_eq(result.policy.state, TP_POLICY_OFF);
}
END_TEST

START_TEST(of_two_with_one_name_the_first_counts)
{
	const char *const variables[] = {"TRUEPEER_TRUST=127.0.0.1",
					 "TRUEPEER_TIMEOUT=1s",
					 "TRUEPEER_TRUST=10.0.0.0/8 172.16.0.0/12",
					 "TRUEPEER_TIMEOUT=nonsense", NULL};
	struct result result = read_all(variables);
	ck_assert(result.ok);
	ck_assert_uint_eq(result.policy.rules[0].trust.count, 1);
	ck_assert_uint_eq(result.policy.rules[0].timeout_ms, 1000);
	ck_assert(trusts(&result.policy, "127.0.0.1"));
	ck_assert(!trusts(&result.policy, "10.0.0.1"));
}
END_TEST

START_TEST(the_order_of_the_variables_means_nothing)
{
	const char *const variables[] = {"TRUEPEER_LOG=none",  "TRUEPEER_IPV6=keep",
					 "PATH=/bin",	       "TRUEPEER_TRUST=10.0.0.1",
					 "TRUEPEER_LISTEN=25", NULL};
	const char *turned[COUNT(variables)] = {NULL};
	for (size_t i = 0; i + 1 < COUNT(variables); i++)
		turned[i] = variables[COUNT(variables) - 2 - i];
	struct tp_policy one = read_all(variables).policy;
	struct tp_rule rule = one.rules[0];
	ck_assert(trusts(&one, "10.0.0.1"));
	struct tp_policy two = read_all(turned).policy;
	ck_assert(trusts(&two, "10.0.0.1"));
	ck_assert_int_eq(rule.ipv6, two.rules[0].ipv6);
	ck_assert_int_eq(one.log.target, two.log.target);
	ck_assert_uint_eq(rule.listen_count, two.rules[0].listen_count);
}
END_TEST

/* ---- TRUEPEER_TRUST ---- */

static const struct {
	const char *variable;
	const char *inside[5], *outside[5];
} trust[] = {
	{"TRUEPEER_TRUST=10.0.0.0/8",
	 {"10.1.2.3", "::ffff:10.1.2.3"},
	 {"11.0.0.1", "::1"}},
	{"TRUEPEER_TRUST=loopback",
	 {"127.0.0.1", "127.9.9.9", "::1"},
	 {"128.0.0.1", "::2", "::"}},
	{"TRUEPEER_TRUST=private",
	 {"10.0.0.1", "172.31.0.1", "192.168.9.9", "fd00::1"},
	 {"172.32.0.1", "127.0.0.1", "169.254.0.1", "fe80::1", "::1"}},
	{"TRUEPEER_TRUST=all", {"1.2.3.4", "2001:db8::1", "0.0.0.0", "::"}, {NULL}},
	{"TRUEPEER_TRUST=all,all,all all", {"1.2.3.4", "2001:db8::1"}, {NULL}},
	{"TRUEPEER_TRUST=private,loopback", {"127.0.0.1", "10.0.0.1"}, {"1.2.3.4"}},
	{"TRUEPEER_TRUST= ,192.0.2.1, ,\t192.0.2.3\n\r2001:db8::/32,,",
	 {"192.0.2.1", "192.0.2.3", "2001:db8::5"},
	 {"192.0.2.2", "2001:db9::"}},
	{"TRUEPEER_TRUST=::", {"::"}, {"::1", "0.0.0.0"}},
	{"TRUEPEER_TRUST=:: :: :: :: ::", {"::"}, {"::1"}},
};

START_TEST(trust_says_who)
{
	struct result result = read_one(trust[_i].variable);
	ck_assert(result.ok);
	ck_assert_int_eq(result.policy.state, TP_POLICY_ON);
	for (size_t i = 0; i < 5 && trust[_i].inside[i]; i++)
		ck_assert_msg(trusts(&result.policy, trust[_i].inside[i]), "%s",
			      trust[_i].inside[i]);
	for (size_t i = 0; i < 5 && trust[_i].outside[i]; i++)
		ck_assert_msg(!trusts(&result.policy, trust[_i].outside[i]), "%s",
			      trust[_i].outside[i]);
}
END_TEST

/* ---- TRUEPEER_LISTEN ---- */

static const struct {
	const char *variable;
	const char *ip; /* of the last one; NULL: any */
	unsigned count, first, last;
	bool any_ip;
} listens[] = {
	{"TRUEPEER_LISTEN=25", NULL, 1, 25, 25, false},
	{"TRUEPEER_LISTEN=1", NULL, 1, 1, 1, false},
	{"TRUEPEER_LISTEN=65535", NULL, 1, 65535, 65535, false},
	{"TRUEPEER_LISTEN=1000-2000", NULL, 1, 1000, 2000, false},
	{"TRUEPEER_LISTEN=7-7", NULL, 1, 7, 7, false},
	{"TRUEPEER_LISTEN=25,587, 465", NULL, 3, 465, 465, false},
	{"TRUEPEER_LISTEN=192.0.2.1:25", "192.0.2.1", 1, 25, 25, false},
	{"TRUEPEER_LISTEN=192.0.2.1:25-30", "192.0.2.1", 1, 25, 30, false},
	{"TRUEPEER_LISTEN=[2001:db8::1]:25", "2001:db8::1", 1, 25, 25, false},
	{"TRUEPEER_LISTEN=[::ffff:192.0.2.1]:25", "192.0.2.1", 1, 25, 25, false},
	{"TRUEPEER_LISTEN=0.0.0.0:25", "0.0.0.0", 1, 25, 25, true},
	{"TRUEPEER_LISTEN=[::]:25", "::", 1, 25, 25, true},
	{"TRUEPEER_LISTEN=[::ffff:0.0.0.0]:25", "0.0.0.0", 1, 25, 25, true},
	{"TRUEPEER_LISTEN=1 2 3 4 5 6 7 8 9", NULL, 9, 9, 9, false},
	{"TRUEPEER_LISTEN=9", NULL, 1, 9, 9, false},
};

START_TEST(listen_says_where)
{
	struct tp_rule rule = rule_of(listens[_i].variable);
	ck_assert_uint_eq(rule.listen_count, listens[_i].count);
	const struct tp_listen *listen = &rule.listen[rule.listen_count - 1];
	struct tp_addr ip = {0};
	if (listens[_i].ip)
		ck_assert(tp_addr_parse(listens[_i].ip, strlen(listens[_i].ip), AF_INET,
					&ip) ||
			  tp_addr_parse(listens[_i].ip, strlen(listens[_i].ip), AF_INET6,
					&ip));
	ck_assert_int_eq(listen->addr.family, ip.family);
	ck_assert_mem_eq(listen->addr.ip, ip.ip, sizeof ip.ip);
	ck_assert_uint_eq(listen->first_port, listens[_i].first);
	ck_assert_uint_eq(listen->last_port, listens[_i].last);
	ck_assert_int_eq(listen->any_ip, listens[_i].any_ip);
}
END_TEST

/* ---- the variables with one word ---- */

START_TEST(header_is_required_or_optional)
{
	ck_assert(!rule_of("TRUEPEER_HEADER=require").header_optional);
	ck_assert(rule_of("TRUEPEER_HEADER=optional").header_optional);
	ck_assert(rule_of("TRUEPEER_HEADER= optional ,").header_optional);
}
END_TEST

START_TEST(untrusted_pass_or_are_rejected)
{
	ck_assert_int_eq(rule_of("TRUEPEER_UNTRUSTED=pass").untrusted, TP_UNTRUSTED_PASS);
	ck_assert_int_eq(rule_of("TRUEPEER_UNTRUSTED=reject").untrusted,
			 TP_UNTRUSTED_REJECT);
}
END_TEST

static const struct {
	const char *variable;
	bool one, two;
} versions[] = {
	{"TRUEPEER_VERSIONS=1", true, false},	{"TRUEPEER_VERSIONS=2", false, true},
	{"TRUEPEER_VERSIONS=1,2", true, true},	{"TRUEPEER_VERSIONS=2 1", true, true},
	{"TRUEPEER_VERSIONS=2 2", false, true},
};

START_TEST(versions_are_those_named)
{
	struct tp_rule rule = rule_of(versions[_i].variable);
	ck_assert_int_eq(rule.versions[1], versions[_i].one);
	ck_assert_int_eq(rule.versions[2], versions[_i].two);
}
END_TEST

static const struct {
	const char *variable;
	unsigned ms;
} timeouts[] = {
	{"TRUEPEER_TIMEOUT=3s", 3000},	     {"TRUEPEER_TIMEOUT=3", 3000},
	{"TRUEPEER_TIMEOUT=1ms", 1},	     {"TRUEPEER_TIMEOUT=500ms", 500},
	{"TRUEPEER_TIMEOUT=1m", 60000},	     {"TRUEPEER_TIMEOUT=60m", 3600000},
	{"TRUEPEER_TIMEOUT=3600s", 3600000}, {"TRUEPEER_TIMEOUT=3600000ms", 3600000},
};

START_TEST(timeout_is_a_time)
{
	ck_assert_uint_eq(rule_of(timeouts[_i].variable).timeout_ms, timeouts[_i].ms);
}
END_TEST

START_TEST(max_header_is_a_number_of_bytes)
{
	ck_assert_uint_eq(rule_of("TRUEPEER_MAX_HEADER=16").limits.max, TP_HEADER_V2_MIN);
	ck_assert_uint_eq(rule_of("TRUEPEER_MAX_HEADER=536").limits.max, 536);
	ck_assert_uint_eq(rule_of("TRUEPEER_MAX_HEADER=65551").limits.max,
			  TP_HEADER_V2_MAX);
}
END_TEST

START_TEST(max_pending_is_the_process_s)
{
	ck_assert_uint_eq(read_one("TRUEPEER_MAX_PENDING=0").policy.max_pending, 0);
	ck_assert_uint_eq(read_one("TRUEPEER_MAX_PENDING=65536").policy.max_pending,
			  65536);
}
END_TEST

START_TEST(defer_is_one_of_three)
{
	ck_assert_int_eq(rule_of("TRUEPEER_DEFER=auto").defer, TP_DEFER_AUTO);
	ck_assert_int_eq(rule_of("TRUEPEER_DEFER=on").defer, TP_DEFER_ON);
	ck_assert_int_eq(rule_of("TRUEPEER_DEFER=off").defer, TP_DEFER_OFF);
}
END_TEST

START_TEST(local_headers_are_accepted_or_rejected)
{
	ck_assert(!rule_of("TRUEPEER_LOCAL=accept").reject_local);
	ck_assert(rule_of("TRUEPEER_LOCAL=reject").reject_local);
}
END_TEST

START_TEST(chain_is_a_number_of_headers)
{
	ck_assert_uint_eq(rule_of("TRUEPEER_CHAIN=0").chain, 0);
	ck_assert_uint_eq(rule_of("TRUEPEER_CHAIN=16").chain, 16);
}
END_TEST

START_TEST(lenient_names_what_is_relaxed)
{
	ck_assert(rule_of("TRUEPEER_LENIENT=mixed-family").limits.mixed_family);
}
END_TEST

START_TEST(ipv6_is_one_of_four)
{
	ck_assert_int_eq(rule_of("TRUEPEER_IPV6=pseudo").ipv6, TP_IPV6_PSEUDO);
	ck_assert_int_eq(rule_of("TRUEPEER_IPV6=report").ipv6, TP_IPV6_REPORT);
	ck_assert_int_eq(rule_of("TRUEPEER_IPV6=keep").ipv6, TP_IPV6_KEEP);
	ck_assert_int_eq(rule_of("TRUEPEER_IPV6=reject").ipv6, TP_IPV6_REJECT);
}
END_TEST

/* ---- TRUEPEER_LOG ---- */

static const struct {
	const char *variable;
	enum tp_log_target target;
	enum tp_log_level level;
	const char *path;
} logs[] = {
	{"TRUEPEER_LOG=stderr", TP_LOG_STDERR, TP_LOG_WARNING, NULL},
	{"TRUEPEER_LOG=syslog", TP_LOG_SYSLOG, TP_LOG_WARNING, NULL},
	{"TRUEPEER_LOG=none", TP_LOG_NONE, TP_LOG_WARNING, NULL},
	{"TRUEPEER_LOG=error", TP_LOG_STDERR, TP_LOG_ERROR, NULL},
	{"TRUEPEER_LOG=warning", TP_LOG_STDERR, TP_LOG_WARNING, NULL},
	{"TRUEPEER_LOG=info", TP_LOG_STDERR, TP_LOG_INFO, NULL},
	{"TRUEPEER_LOG=syslog,info", TP_LOG_SYSLOG, TP_LOG_INFO, NULL},
	{"TRUEPEER_LOG=error syslog", TP_LOG_SYSLOG, TP_LOG_ERROR, NULL},
	{"TRUEPEER_LOG=file:/a", TP_LOG_FILE, TP_LOG_WARNING, "/a"},
	{"TRUEPEER_LOG=info,file:/var/log/truepeer.log", TP_LOG_FILE, TP_LOG_INFO,
	 "/var/log/truepeer.log"},
};

START_TEST(log_says_where_to_and_how_much)
{
	struct result result = read_one(logs[_i].variable);
	ck_assert(result.ok);
	ck_assert_int_eq(result.policy.log.target, logs[_i].target);
	ck_assert_int_eq(result.policy.log.level, logs[_i].level);
	if (logs[_i].path) {
		ck_assert_uint_eq(result.policy.log.path.len, strlen(logs[_i].path));
		ck_assert_mem_eq(result.policy.log.path.text, logs[_i].path,
				 strlen(logs[_i].path));
	}
}
END_TEST

START_TEST(the_file_of_counters_is_named)
{
	struct result result = read_one("TRUEPEER_STATS= /run/smtp.stats ");
	ck_assert(result.ok);
	ck_assert_uint_eq(result.policy.stats.len, strlen("/run/smtp.stats"));
	ck_assert_mem_eq(result.policy.stats.text, "/run/smtp.stats", 15);
	ck_assert_uint_eq(read_one("TRUEPEER_STATS=").policy.stats.len, 0);
}
END_TEST

static const struct {
	const char *variable, *text;
	size_t len;
} stats_alone[] = {
	{"TRUEPEER_STATS=/a", "", 2},
	{"TRUEPEER_STATS=/a /b", "", 0},
	{"TRUEPEER_STATS=a", "", 0},
	{"TRUEPEER_STATS=", "", 0},
	{"TRUEPEER_TRUST=/a", "", 0},
	{"TRUEPEER_STATS=", "stats /ab", 3},
	{"TRUEPEER_STATS=", "from all\n  stats '/a b' # c\r\nfrom all", 4},
	{"TRUEPEER_STATS=/a", "stats /ab", 2},
	{"TRUEPEER_STATS=a", "stats /ab", 0},
	{"TRUEPEER_STATS=", "stats /a /b", 0},
	{"TRUEPEER_STATS=", "stats", 0},
	{"TRUEPEER_STATS=", "stats '/a", 0},
	{"TRUEPEER_STATS=", "# stats /ab\nfrom stats /ab", 0},
};

START_TEST(the_file_of_counters_can_be_asked_for_alone)
{
	const char *const variables[] = {"TRUEPEER_LISTEN=x", stats_alone[_i].variable,
					 NULL};
	const struct tp_config config = {.variables = variables,
					 .text = stats_alone[_i].text,
					 .len = strlen(stats_alone[_i].text)};
	ck_assert_uint_eq(tp_config_stats(&config).len, stats_alone[_i].len);
}
END_TEST

START_TEST(the_log_is_set_although_another_is_wrong)
{
	const char *const variables[] = {"TRUEPEER_TRUST=x", "TRUEPEER_LOG=file:/a",
					 NULL};
	struct result result = read_all(variables);
	ck_assert(!result.ok);
	ck_assert_str_eq(result.mistakes[0].setting, "TRUEPEER_TRUST");
	ck_assert_int_eq(result.policy.log.target, TP_LOG_FILE);
}
END_TEST

START_TEST(the_log_is_set_as_far_as_it_was_right)
{
	struct result result = read_one("TRUEPEER_LOG=none info x syslog");
	ck_assert(!result.ok);
	assert_word(&result.mistakes[0], "x");
	ck_assert_int_eq(result.policy.log.target, TP_LOG_SYSLOG);
	ck_assert_int_eq(result.policy.log.level, TP_LOG_INFO);
}
END_TEST

/* ---- mistakes ---- */

static const struct {
	const char *name, *value;
	const char *word; /* NULL: all of the value */
} mistakes[] = {
	{"TRUST", "10.0.0.1/8", NULL},
	{"TRUST", "10.0.0.0/33", NULL},
	{"TRUST", "10.0.0.0/8x", NULL},
	{"TRUST", "10.0.0.0/24abc", NULL},
	{"TRUST", "10.0.0.0/08", NULL},
	{"TRUST", "/8", NULL},
	{"TRUST", "::/129", NULL},
	{"TRUST", "Loopback", NULL},
	{"TRUST", "private:", NULL},
	{"TRUST", "al", NULL},
	{"TRUST", "alll", NULL},
	{"TRUST", "localhost", NULL},
	{"TRUST", "[::1]", NULL},
	{"TRUST", "10.0.0.0/8;127.0.0.1", NULL},
	{"TRUST", "10.0.0.0/8, 10.0.0.1/8 loopback", "10.0.0.1/8"},
	{"TRUST", "loopback,,x", "x"},
	{"TRUST", "\t x\n", "x"},
	{"LISTEN", "0", NULL},
	{"LISTEN", "025", NULL},
	{"LISTEN", "65536", NULL},
	{"LISTEN", "4294967321", NULL},
	{"LISTEN", "99999999999999999999", NULL},
	{"LISTEN", "-25", NULL},
	{"LISTEN", "+25", NULL},
	{"LISTEN", "25x", NULL},
	{"LISTEN", "smtp", NULL},
	{"LISTEN", "25-", NULL},
	{"LISTEN", "-", NULL},
	{"LISTEN", "30-25", NULL},
	{"LISTEN", "25-0", NULL},
	{"LISTEN", "25-65536", NULL},
	{"LISTEN", "1-2-3", NULL},
	{"LISTEN", ":", NULL},
	{"LISTEN", ":25", NULL},
	{"LISTEN", "*:25", NULL},
	{"LISTEN", "[]:25", NULL},
	{"LISTEN", "[:25", NULL},
	{"LISTEN", "[::1]", NULL},
	{"LISTEN", "[::1]:", NULL},
	{"LISTEN", "[::1]25", NULL},
	{"LISTEN", "[192.0.2.1]:25", NULL},
	{"LISTEN", "::1:25", NULL},
	{"LISTEN", "192.0.2.1", NULL},
	{"LISTEN", "192.0.2.1:", NULL},
	{"LISTEN", "192.0.2.1:0", NULL},
	{"LISTEN", "192.0.2.0/24:25", NULL},
	{"LISTEN", "192.0.2.1:25:26", NULL},
	{"LISTEN", "25,587,x,465", "x"},
	{"HEADER", "required", NULL},
	{"HEADER", "Require", NULL},
	{"HEADER", "requireoptional", NULL},
	{"HEADER", "require optional", "optional"},
	{"HEADER", "optional,optional", "optional"},
	{"UNTRUSTED", "drop", NULL},
	{"UNTRUSTED", "pass reject", "reject"},
	{"VERSIONS", "3", NULL},
	{"VERSIONS", "0", NULL},
	{"VERSIONS", "v2", NULL},
	{"VERSIONS", "12", NULL},
	{"VERSIONS", "1 2 x", "x"},
	{"TIMEOUT", "0", NULL},
	{"TIMEOUT", "0s", NULL},
	{"TIMEOUT", "-1s", NULL},
	{"TIMEOUT", "s", NULL},
	{"TIMEOUT", "3 s", "s"},
	{"TIMEOUT", "3S", NULL},
	{"TIMEOUT", "3h", NULL},
	{"TIMEOUT", "1.5s", NULL},
	{"TIMEOUT", "3s5", NULL},
	{"TIMEOUT", "61m", NULL},
	{"TIMEOUT", "3601s", NULL},
	{"TIMEOUT", "3600001ms", NULL},
	{"TIMEOUT", "71583m", NULL},
	{"TIMEOUT", "4294967297s", NULL},
	{"TIMEOUT", "99999999999999999999s", NULL},
	{"MAX_HEADER", "15", NULL},
	{"MAX_HEADER", "65552", NULL},
	{"MAX_HEADER", "4k", NULL},
	{"MAX_HEADER", "4096 bytes", "bytes"},
	{"MAX_HEADER", "-16", NULL},
	{"MAX_HEADER", "4294967312", NULL},
	{"MAX_HEADER", "0x1000", NULL},
	{"MAX_PENDING", "65537", NULL},
	{"MAX_PENDING", "-1", NULL},
	{"MAX_PENDING", "many", NULL},
	{"DEFER", "yes", NULL},
	{"LOCAL", "keep", NULL},
	{"LOCAL", "accept reject", "reject"},
	{"CHAIN", "17", NULL},
	{"CHAIN", "-1", NULL},
	{"CHAIN", "1x", NULL},
	{"LENIENT", "mixed", NULL},
	{"LENIENT", "mixed-family all", "all"},
	{"RULES", "relative", NULL},
	{"RULES", "./x", NULL},
	{"RULES", "/a /b", "/b"},
	{"IPV6", "yes", NULL},
	{"IPV6", "Pseudo", NULL},
	{"IPV6", "keep reject", "reject"},
	{"PROGRAMS", "/usr/sbin/sshd", NULL},
	{"PROGRAMS", "sshd bin/vsftpd", "bin/vsftpd"},
	{"SOCKNAME", "on", NULL},
	{"SOCKNAME", "header kernel", "kernel"},
	{"INHERITED", "64", NULL},
	{"INHERITED", "-1", NULL},
	{"INHERITED", "0x1", NULL},
	{"INHERITED", "0-2", NULL},
	{"INHERITED", "0 stdin", "stdin"},
	{"LISTEN", "run/a.sock", NULL},
	{"STATS", "relative", NULL},
	{"STATS", "/a zero", "zero"},
	{"LOG", "stdout", NULL},
	{"LOG", "file", NULL},
	{"LOG", "file:", NULL},
	{"LOG", "file:/", NULL},
	{"LOG", "file:relative", NULL},
	{"LOG", "/var/log/x", NULL},
	{"LOG", "debug", NULL},
	{"LOG", "stderr,verbose", "verbose"},
};

START_TEST(a_mistake_names_the_variable_and_the_word)
{
	char variable[96], name[32];
	snprintf(name, sizeof name, "TRUEPEER_%s", mistakes[_i].name);
	snprintf(variable, sizeof variable, "%s=%s", name, mistakes[_i].value);
	const char *const others[] = {"TRUEPEER_TRUST=10.0.0.1", variable, NULL};
	bool trust_itself = !strcmp(mistakes[_i].name, "TRUST");
	struct result result = read_all(others + trust_itself);
	const char *word = mistakes[_i].word ? mistakes[_i].word : mistakes[_i].value;
	ck_assert_msg(!result.ok, "%s", variable);
	ck_assert_uint_eq(result.count, 1);
	ck_assert_str_eq(result.mistakes[0].setting, name);
	ck_assert_ptr_null(result.mistakes[0].file);
	ck_assert_uint_eq(result.mistakes[0].line, 0);
	assert_word(&result.mistakes[0], word);
	ck_assert(result.mistakes[0].word > variable &&
		  result.mistakes[0].word < variable + sizeof variable);
	ck_assert_uint_gt(strlen(result.mistakes[0].expected), 0);
	ck_assert(!result.mistakes[0].reason || *result.mistakes[0].reason);
}
END_TEST

/* ---- programs ---- */

static const struct {
	const char *variable;
	bool named; /* "postfix", "smtpd" */
} programs[] = {
	{"TRUEPEER_TRUST=all", true},
	{"TRUEPEER_PROGRAMS=", true},
	{"TRUEPEER_PROGRAMS= ,", true},
	{"TRUEPEER_PROGRAMS=postfix", true},
	{"TRUEPEER_PROGRAMS=vsftpd, smtpd", true},
	{"TRUEPEER_PROGRAMS=vsftpd", false},
	{"TRUEPEER_PROGRAMS=smtp smtpdx Smtpd", false},
	/* A mistake, to be found by tp_config_read. */
	{"TRUEPEER_PROGRAMS=vsftpd /usr/sbin/sshd", true},
};

START_TEST(a_program_is_named_or_not)
{
	const char *const variables[] = {programs[_i].variable, NULL},
			  *const ours[] = {"postfix", "smtpd", NULL},
			  *const unknown[] = {NULL};
	bool all = programs[0].named && (_i < 3 || strchr(programs[_i].variable, '/'));
	const struct tp_config config = {.variables = variables};
	ck_assert(tp_config_names_program(&config, ours) == programs[_i].named);
	ck_assert(tp_config_names_program(&config, unknown) == all);
}
END_TEST

/* ---- inherited connections, AF_UNIX, getsockname ---- */

static const struct {
	const char *variable;
	uint64_t numbers;
	bool listen_fds;
} inherited[] = {
	{"TRUEPEER_INHERITED=0", 1, false},
	{"TRUEPEER_INHERITED=0 1,2 0", 7, false},
	{"TRUEPEER_INHERITED=63", (uint64_t)1 << 63, false},
	{"TRUEPEER_INHERITED=listen-fds", 0, true},
	{"TRUEPEER_INHERITED=listen-fds 3", 8, true},
	{"TRUEPEER_INHERITED=", 0, false},
};

START_TEST(inherited_says_which)
{
	struct tp_policy policy = read_one(inherited[_i].variable).policy;
	ck_assert_int_eq(policy.state, TP_POLICY_OFF);
	ck_assert_uint_eq(policy.inherited.numbers, inherited[_i].numbers);
	ck_assert(policy.inherited.listen_fds == inherited[_i].listen_fds);
}
END_TEST

START_TEST(inherited_is_known_although_others_are_wrong)
{
	const char *const variables[] = {"TRUEPEER_TRUST=x", "TRUEPEER_INHERITED=5",
					 NULL};
	struct result result = read_all(variables);
	ck_assert(!result.ok);
	ck_assert_uint_eq(result.policy.inherited.numbers, 1 << 5);
}
END_TEST

START_TEST(unix_is_trusted_alone_or_beside_others)
{
	struct tp_policy alone = read_one("TRUEPEER_TRUST=unix").policy;
	ck_assert_int_eq(alone.state, TP_POLICY_ON);
	ck_assert(alone.rules[0].trusts_unix && !alone.rules[0].trust.count);
	ck_assert(!trusts(&alone, "127.0.0.1"));
	ck_assert(alone.has_unix);
	struct tp_policy beside = read_one("TRUEPEER_TRUST=unix,10.0.0.1").policy;
	ck_assert(beside.rules[0].trusts_unix && trusts(&beside, "10.0.0.1"));
	struct tp_policy all = read_one("TRUEPEER_TRUST=all").policy;
	ck_assert(!all.rules[0].trusts_unix && !all.has_unix);
}
END_TEST

static const struct {
	const char *variables[3], *text;
	bool has_unix;
} beside_a_mistake[] = {
	{{"TRUEPEER_TRUST=unix"}, "from x", true},
	{{"TRUEPEER_TRUST=x Unix"}, "", true},
	{{"TRUEPEER_TIMEOUT=x", "TRUEPEER_TRUST=10.0.0.1;unix"}, "", true},
	{{NULL}, "form unix", true},
	{{NULL}, "from 10.0.0.1 from unix", true},
	{{NULL}, "from x", false},
	{{"TRUEPEER_TRUST=uni x"}, "", false},
	{{"TRUEPEER_TRUST=all", "TRUEPEER_TIMEOUT=unix"}, "", false},
	{{"TRUEPEER_TRUST="}, "from x\nfrom uni", false},
};

START_TEST(unix_may_be_trusted_where_the_word_is_beside_a_mistake)
{
	const char *text = beside_a_mistake[_i].text;
	struct result result =
		read_both(beside_a_mistake[_i].variables, text, strlen(text));
	ck_assert_int_eq(result.policy.state, TP_POLICY_BROKEN);
	ck_assert(result.policy.has_unix == beside_a_mistake[_i].has_unix);
}
END_TEST

START_TEST(a_path_is_a_place_to_listen)
{
	struct tp_rule rule = rule_of("TRUEPEER_LISTEN=25 /run/a.sock");
	ck_assert_uint_eq(rule.listen_count, 2);
	ck_assert_uint_eq(rule.listen[1].path.len, strlen("/run/a.sock"));
	ck_assert_mem_eq(rule.listen[1].path.text, "/run/a.sock", 11);
	ck_assert_uint_gt(rule.listen[1].first_port, rule.listen[1].last_port);
	ck_assert_ptr_null(rule.listen[0].path.text);
}
END_TEST

START_TEST(a_path_is_one_that_a_socket_can_have)
{
	char variable[128] = "TRUEPEER_LISTEN=";
	char *path = variable + strlen(variable);
	memset(path, '/', 108);
	ck_assert_uint_eq(rule_of(variable).listen[0].path.len, 108);
	path[108] = 'x';
	struct result result = read_one(variable);
	ck_assert_uint_eq(result.count, 1);
	assert_word(&result.mistakes[0], path);
}
END_TEST

START_TEST(sockname_is_the_kernels_or_the_headers)
{
	ck_assert(rule_of("TRUEPEER_SOCKNAME=header").tells_destination);
	ck_assert(!rule_of("TRUEPEER_SOCKNAME=kernel").tells_destination);
}
END_TEST

/* ---- the rules file ---- */

START_TEST(keys_follow_the_variables)
{
	const struct tp_setting *setting = &tp_setting_table[_i];
	char name[64] = "TRUEPEER_";
	char *end = name + strlen(name);
	if (!setting->key) {
		ck_assert(setting->process); /* each program's own business */
		return;
	}
	for (const char *at = setting->key; *at; at++)
		*end++ = (char)(*at == '-' ? '_' : toupper(*at));
	if (strcmp(setting->key, "from"))
		ck_assert_str_eq(setting->variable, name);
	else
		ck_assert_str_eq(setting->variable, "TRUEPEER_TRUST");
	ck_assert_ptr_nonnull(strstr(tp_setting_keys, setting->key));
	ck_assert_ptr_eq(
		tp_setting_find((struct tp_word){setting->key, strlen(setting->key)}),
		setting);
}
END_TEST

START_TEST(a_line_is_a_rule)
{
	struct result result = read_file(
		"# who comes from where\n"
		"\n"
		"from 10.0.0.5 header optional # health checks\n"
		"  listen 25,587 from 10.0.0.0/8, 2001:db8::/32 header require timeout "
		"10s\n"
		"from private listen 80 81 untrusted reject versions 2 max-header 536 "
		"defer on local reject chain 2 lenient mixed-family ipv6 keep "
		"sockname header\n");
	const struct tp_rule *rules = result.policy.rules;
	ck_assert_uint_eq(result.count, 0);
	ck_assert_int_eq(result.policy.state, TP_POLICY_ON);
	ck_assert_uint_eq(result.policy.rule_count, 3);
	ck_assert(result.policy.rejects);

	ck_assert_uint_eq(rules[0].line, 3);
	ck_assert(rules[0].header_optional);
	ck_assert_uint_eq(rules[0].listen_count, 0);
	ck_assert(rule_trusts(&rules[0], "10.0.0.5"));
	ck_assert(!rule_trusts(&rules[0], "10.0.0.6"));

	ck_assert_uint_eq(rules[1].line, 4);
	ck_assert(!rules[1].header_optional);
	ck_assert_uint_eq(rules[1].listen_count, 2);
	ck_assert_uint_eq(rules[1].listen[0].first_port, 25);
	ck_assert_uint_eq(rules[1].listen[1].first_port, 587);
	ck_assert_uint_eq(rules[1].trust.count, 2);
	ck_assert(rule_trusts(&rules[1], "2001:db8::1"));
	ck_assert_uint_eq(rules[1].timeout_ms, 10000);

	ck_assert_uint_eq(rules[2].line, 5);
	ck_assert_uint_eq(rules[2].listen_count, 2);
	ck_assert_uint_eq(rules[2].listen[1].last_port, 81);
	ck_assert(rule_trusts(&rules[2], "192.168.1.1"));
	ck_assert_int_eq(rules[2].untrusted, TP_UNTRUSTED_REJECT);
	ck_assert(!rules[2].versions[1] && rules[2].versions[2]);
	ck_assert_uint_eq(rules[2].limits.max, 536);
	ck_assert_int_eq(rules[2].defer, TP_DEFER_ON);
	ck_assert(rules[2].reject_local);
	ck_assert_uint_eq(rules[2].chain, 2);
	ck_assert(rules[2].limits.mixed_family);
	ck_assert_int_eq(rules[2].ipv6, TP_IPV6_KEEP);
	ck_assert(rules[2].tells_destination);
}
END_TEST

START_TEST(each_rule_starts_from_the_defaults)
{
	struct result result =
		read_file("from all header optional timeout 1s versions 1\n"
			  "from all\n");
	ck_assert_uint_eq(result.policy.rule_count, 2);
	assert_default_rule(&result.policy.rules[1]);
}
END_TEST

static const char *const same[] = {
	"from 10.0.0.1 header optional",
	"from 10.0.0.1 header optional\n",
	"from 10.0.0.1 header optional\r\n",
	"from 10.0.0.1 header optional\r",
	"\tfrom\t10.0.0.1\theader\toptional\t",
	"from 10.0.0.1,header,optional",
	"header optional from 10.0.0.1",
	"from 10.0.0.1 header optional # \"a comment' with 'quotes\n",
	"from \"10.0.0.1\" header 'optional'",
	"\r\n\n  \n#\n# from all\nfrom 10.0.0.1 header optional\n\n\n",
};

START_TEST(the_same_can_be_written_in_other_ways)
{
	struct result result = read_file(same[_i]);
	ck_assert_uint_eq(result.count, 0);
	ck_assert_uint_eq(result.policy.rule_count, 1);
	ck_assert(result.policy.rules[0].header_optional);
	ck_assert(rule_trusts(&result.policy.rules[0], "10.0.0.1"));
	ck_assert_uint_eq(result.policy.rules[0].trust.count, 1);
}
END_TEST

static const struct {
	const char *text;
	struct {
		unsigned line;
		const char *setting, *word;
	} mistakes[6];
} wrong_files[] = {
	{"heade require from all", {{1, NULL, "heade"}}},
	{"form 10.0.0.0/8", {{1, NULL, "form"}}},
	{"trust all", {{1, NULL, "trust"}}},
	{"TRUEPEER_TRUST=all", {{1, NULL, "TRUEPEER_TRUST=all"}}},
	{"rules /etc/x", {{1, NULL, "rules"}}},
	{"From all", {{1, NULL, "From"}}},
	{"from all header require timeut 3s ipv6 keep", {{1, NULL, "timeut"}}},
	{"from all header require optional", {{1, NULL, "optional"}}},
	{"from 10.0.0.1/8 header maybe\nfrom all\nfrom x y timeout 0",
	 {{1, "from", "10.0.0.1/8"},
	  {1, "header", "maybe"},
	  {3, "from", "x"},
	  {3, "from", "y"},
	  {3, "timeout", "0"}}},
	{"# all\rfrom all", {{1, NULL, "\r"}}},
	{"from all\r\n# all\rfrom all\r\nfrom x", {{2, NULL, "\r"}, {3, "from", "x"}}},
	{"from all\r\r\n", {{1, NULL, "\r"}}},
	{"from", {{1, "from", NULL}}},
	{"\nfrom all timeout # 3s", {{2, "timeout", NULL}}},
	{"listen 25", {{1, NULL, NULL}}},
	{"header optional", {{1, NULL, NULL}}},
	{"from all from 10.0.0.1", {{1, NULL, "from"}}},
	{"from all ipv6 keep ipv6 keep listen x",
	 {{1, NULL, "ipv6"}, {1, "listen", "x"}}},
	{"log info\nlog none\nfrom all", {{2, NULL, "log"}}},
	{"max-pending 1\nmax-pending 1\nfrom all", {{2, NULL, "max-pending"}}},
	{"log info from all\nfrom all", {{1, NULL, "from"}}},
	{"from all log info", {{1, NULL, "log"}}},
	{"from all max-pending 5", {{1, NULL, "max-pending"}}},
	{"log info max-pending 5\nfrom all", {{1, NULL, "max-pending"}}},
	{"log loud\nfrom all", {{1, "log", "loud"}}},
	{"max-pending 1 2\nfrom all", {{1, NULL, "2"}}},
	{"from \"10.0.0.1", {{1, "from", "\"10.0.0.1"}}},
	{"from \"10.0.0.1\"x", {{1, "from", "\"10.0.0.1\"x"}}},
	{"from '10.0.0.1\" header optional\nfrom all",
	 {{1, "from", "'10.0.0.1\" header optional"}}},
	{"from '' header ''", {{1, "from", ""}, {1, "header", ""}}},
	{"from all header optional#comment", {{1, "header", "optional#comment"}}},
	{"from all header \\\nrequire", {{1, "header", "\\"}, {2, NULL, "require"}}},
	{"\xef\xbb\xbf"
	 "from all",
	 {{1, NULL,
	   "\xef\xbb\xbf"
	   "from"}}},
	{"", {{0, NULL, NULL}}},
	{"\n# nothing\n", {{0, NULL, NULL}}},
	{"log info\nmax-pending 7\n", {{0, NULL, NULL}}},
};

START_TEST(every_mistake_is_told_with_its_line)
{
	struct result result = read_file(wrong_files[_i].text);
	size_t count = 0;
	for (; count < 6 && (count == 0 || wrong_files[_i].mistakes[count].line);
	     count++) {
		const struct tp_mistake *mistake = &result.mistakes[count];
		const char *setting = wrong_files[_i].mistakes[count].setting;
		const char *word = wrong_files[_i].mistakes[count].word;
		ck_assert_uint_gt(result.count, count);
		ck_assert_str_eq(mistake->file, "/r");
		ck_assert_uint_eq(mistake->line, wrong_files[_i].mistakes[count].line);
		ck_assert(!setting == !mistake->setting);
		if (setting)
			ck_assert_str_eq(mistake->setting, setting);
		ck_assert(!word == !mistake->word);
		if (word)
			assert_word(mistake, word);
		ck_assert(mistake->reason || mistake->expected);
	}
	ck_assert_uint_eq(result.count, count);
	ck_assert_int_eq(result.policy.state, TP_POLICY_BROKEN);
}
END_TEST

START_TEST(a_nul_is_a_byte_like_any_other_that_is_wrong)
{
	static const char *const named[] = {"TRUEPEER_RULES=/r", NULL};
	static const char key[] = "from all\nfrom\0 all", value[] = "from 10.0.0.1\0",
			  path[] = "log 'file:/a\0b'\nfrom all", alone[] = "\0from all",
			  listen[] = "listen '/run/a\0b' from unix",
			  comment[] = "from all #\0\0\n";
	ck_assert(!read_both(named, key, sizeof key - 1).ok);
	ck_assert(!read_both(named, value, sizeof value - 1).ok);
	ck_assert(!read_both(named, path, sizeof path - 1).ok);
	ck_assert(!read_both(named, listen, sizeof listen - 1).ok);
	ck_assert(!read_both(named, alone, sizeof alone - 1).ok);
	ck_assert(read_both(named, comment, sizeof comment - 1).ok);
}
END_TEST

START_TEST(settings_of_the_process_have_lines_of_their_own)
{
	struct result result = read_file("max-pending 77\nfrom all\n"
					 "log \"file:/var/log/a b,c\" info\n");
	ck_assert_uint_eq(result.count, 0);
	ck_assert_uint_eq(result.policy.max_pending, 77);
	ck_assert_int_eq(result.policy.log.target, TP_LOG_FILE);
	ck_assert_int_eq(result.policy.log.level, TP_LOG_INFO);
	ck_assert_uint_eq(result.policy.log.path.len, strlen("/var/log/a b,c"));
	ck_assert_mem_eq(result.policy.log.path.text, "/var/log/a b,c",
			 result.policy.log.path.len);
}
END_TEST

static const struct {
	const char *text;
	bool limited, named;
} limits[] = {
	{"from all\n", false, false},
	{"programs vsftpd\nfrom all\n", true, false},
	{"programs vsftpd, smtpd\nfrom all\n", true, true},
	{"from all\nprograms postfix\n", true, true},
};

START_TEST(a_file_may_be_for_some_programs)
{
	static const char *const none[] = {NULL}, *const ours[] = {"postfix", "smtpd",
								   NULL};
	const struct tp_config config = {none, "/r", limits[_i].text,
					 strlen(limits[_i].text), ours};
	struct result result = read_config(&config);
	ck_assert_uint_eq(result.count, 0);
	ck_assert(result.policy.limited == limits[_i].limited);
	ck_assert(result.policy.named == limits[_i].named);
	ck_assert(tp_config_names_program(&config, ours) ==
		  (limits[_i].named || !limits[_i].limited));
}
END_TEST

START_TEST(variables_of_the_process_count_before_the_file)
{
	static const char *const variables[] = {"TRUEPEER_RULES=/r", "TRUEPEER_LOG=none",
						"TRUEPEER_MAX_PENDING=5", NULL};
	static const char text[] = "log syslog info\nmax-pending 77\nfrom all";
	static const char wrong_text[] = "log loud\nmax-pending x\nfrom all";
	struct result result = read_both(variables, text, strlen(text));
	ck_assert_uint_eq(result.count, 0);
	ck_assert_uint_eq(result.policy.max_pending, 5);
	ck_assert_int_eq(result.policy.log.target, TP_LOG_NONE);
	ck_assert_int_eq(result.policy.log.level, TP_LOG_WARNING);
	ck_assert_uint_eq(read_both(variables, wrong_text, strlen(wrong_text)).count, 2);
}
END_TEST

START_TEST(the_variables_make_the_last_rule)
{
	static const char *const variables[] = {"TRUEPEER_TRUST=10.0.0.1",
						"TRUEPEER_TIMEOUT=7s", NULL};
	static const char text[] = "from 10.0.0.0/8 timeout 5s\n";
	struct result result = read_both(variables, text, strlen(text));
	ck_assert_uint_eq(result.count, 0);
	ck_assert_uint_eq(result.policy.rule_count, 2);
	ck_assert_uint_eq(result.policy.rules[0].timeout_ms, 5000);
	ck_assert_uint_eq(result.policy.rules[1].timeout_ms, 7000);
	ck_assert_uint_eq(result.policy.rules[1].line, 0);
	ck_assert_uint_eq(result.policy.rules[1].trust.count, 1);
}
END_TEST

START_TEST(variables_beside_a_file_make_a_whole_rule_or_none)
{
	static const char *const variables[] = {"TRUEPEER_RULES=/r",
						"TRUEPEER_UNTRUSTED=reject", NULL};
	static const char text[] = "from 10.0.0.0/8\n";
	struct result result = read_both(variables, text, strlen(text));
	ck_assert_uint_eq(result.count, 1);
	ck_assert_ptr_null(result.mistakes[0].file);
	ck_assert_str_eq(result.mistakes[0].setting, "TRUEPEER_UNTRUSTED");
	assert_word(&result.mistakes[0], "reject");
}
END_TEST

START_TEST(who_rejects_everybody_else_trusts_somebody)
{
	static const char *const variables[] = {"TRUEPEER_TIMEOUT=5s",
						"TRUEPEER_UNTRUSTED=reject",
						"TRUEPEER_TRUST=", NULL};
	static const char *const harmless[] = {"TRUEPEER_TIMEOUT=5s",
					       "TRUEPEER_UNTRUSTED=pass", NULL};
	struct result result = read_all(variables);
	ck_assert_uint_eq(result.count, 1);
	ck_assert_str_eq(result.mistakes[0].setting, "TRUEPEER_UNTRUSTED");
	assert_word(&result.mistakes[0], "reject");
	ck_assert_int_eq(result.policy.state, TP_POLICY_BROKEN);
	result = read_all(harmless);
	ck_assert_uint_eq(result.count, 0);
	ck_assert_int_eq(result.policy.state, TP_POLICY_OFF);
}
END_TEST

START_TEST(a_file_may_hold_the_process_and_the_variables_the_rule)
{
	static const char *const variables[] = {"TRUEPEER_RULES=/r",
						"TRUEPEER_TRUST=10.0.0.1", NULL};
	static const char text[] = "log none\n";
	struct result result = read_both(variables, text, strlen(text));
	ck_assert_uint_eq(result.count, 0);
	ck_assert_uint_eq(result.policy.rule_count, 1);
	ck_assert_int_eq(result.policy.log.target, TP_LOG_NONE);
}
END_TEST

START_TEST(the_file_at_the_fixed_place_may_be_empty)
{
	static const char *const variables[] = {NULL};
	static const char text[] = "# from 10.0.0.0/8\n";
	struct result result = read_both(variables, text, strlen(text));
	ck_assert_uint_eq(result.count, 0);
	ck_assert_int_eq(result.policy.state, TP_POLICY_OFF);
}
END_TEST

START_TEST(a_rule_may_be_there_for_the_untrusted_alone)
{
	struct result result = read_file("from 10.0.0.0/8\nlisten 25 untrusted reject\n");
	ck_assert_uint_eq(result.count, 0);
	ck_assert_uint_eq(result.policy.rule_count, 2);
	ck_assert_uint_eq(result.policy.rules[1].trust.count, 0);
}
END_TEST

static const struct {
	const char *one, *two, *file; /* two variables; what is asked for, or NULL */
} wanted[] = {
	{NULL, NULL, "/fixed"},
	{"TRUEPEER_LOG=none", "TRUEPEER_MAX_PENDING=5", "/fixed"},
	{"TRUEPEER_TRUST=", "TRUEPEER_HEADER= ,", "/fixed"},
	{"TRUEPEER_PORT=tcp://1.2.3.4", "PATH=/bin", "/fixed"},
	{"TRUEPEER_TRUST=all", NULL, NULL},
	{"TRUEPEER_TRUST=unix", NULL, NULL},
	{"TRUEPEER_TIMEOUT=5s", NULL, "/fixed"},
	{"TRUEPEER_RULES=", "TRUEPEER_IPV6=keep", "/fixed"},
	{"TRUEPEER_RULES=/a", NULL, "/a"},
	{"TRUEPEER_RULES= /a ", NULL, "/a"},
	{"TRUEPEER_RULES=/a", "TRUEPEER_TRUST=all", "/a"},
	{"TRUEPEER_RULES=", NULL, "/fixed"},
};

START_TEST(the_file_is_the_named_one_or_the_fixed_one)
{
	const char *const variables[] = {wanted[_i].one, wanted[_i].two, NULL};
	size_t len = 0;
	const char *file = tp_config_rules_file(variables, "/fixed", &len);
	ck_assert(!file == !wanted[_i].file);
	if (file) {
		ck_assert_uint_eq(len, strlen(wanted[_i].file));
		ck_assert_mem_eq(file, wanted[_i].file, len);
	}
}
END_TEST

static const char *const pieces[] = {
	"from ",
	"listen ",
	"all ",
	"::,",
	"1,",
	"25 ",
	"private ",
	"header ",
	"optional ",
	"untrusted ",
	"reject ",
	"\n",
	"\n",
	"\n",
	"log ",
	"info ",
	"'",
	"\"",
	"#",
	"x",
	"\r",
	"10.0.0.0/8 ",
	"versions ",
	"1 ",
	"max-pending ",
	"TRUEPEER_TRUST=",
	"chain 1 ",
	"lenient mixed-family ",
};

START_TEST(any_text_is_read_within_its_memory)
{
	static const char *const variables[] = {"TRUEPEER_TRUST=all", "TRUEPEER_LISTEN=1",
						NULL};
	for (int i = 0; i < 20000; i++) {
		char text[40 * 32];
		size_t len = 0, count = draw_below(40),
		       kinds = 1 + draw_below(COUNT(pieces));
		size_t from = draw_below(COUNT(pieces) - kinds + 1);
		for (; count; count--) {
			const char *piece = pieces[from + draw_below(kinds)];
			memcpy(text + len, piece, strlen(piece));
			len += strlen(piece);
		}
		/* A copy that ends right where the text does. */
		char *copy = malloc(len ? len : 1);
		memcpy(copy, text, len);
		read_both(variables, copy, len);
		free(copy);
	}
}
END_TEST

/* ---- memory ---- */

static const char *const words[] = {
	"unix",	   "all",  "loopback",	    "private",	  "::", "::1",
	"1.2.3.4", "::/0", "2001:db8::/32", "10.0.0.0/8", "x"};
static const char *const ports[] = {"1",   "9",		"25",	  "/",
				    "1-2", "1.2.3.4:5", "[::]:6", "x"};

static void put_random_words(char *at, const char *const *from, size_t count, size_t n)
{
	static const char separators[] = " ,\t";
	for (; n; n--) {
		const char *word = from[draw_below(count)];
		at += sprintf(at, "%s", word);
		if (n > 1)
			*at++ = separators[draw_below(3)];
	}
	*at = '\0';
}

START_TEST(the_memory_asked_for_is_always_enough)
{
	static char one[4096] = "TRUEPEER_TRUST=", two[4096] = "TRUEPEER_LISTEN=";
	const char *const variables[] = {one, two, NULL};
	for (int i = 0; i < 20000; i++) {
		/* Few kinds of words in one text: the shortest alone, most of all. */
		size_t kinds = 1 + draw_below(COUNT(words)),
		       port_kinds = 1 + draw_below(COUNT(ports));
		size_t from = draw_below(COUNT(words) - kinds + 1);
		put_random_words(one + strlen("TRUEPEER_TRUST="), words + from, kinds,
				 draw_below(20));
		put_random_words(two + strlen("TRUEPEER_LISTEN="), ports, port_kinds,
				 draw_below(20));
		read_all(variables);
	}
}
END_TEST

START_TEST(ten_thousand_prefixes_are_taken)
{
	static char variable[32 + 10000 * 16] = "TRUEPEER_TRUST=";
	char *at = variable + strlen(variable);
	const char *const variables[] = {variable, NULL};
	for (int i = 0; i < 10000; i++)
		at += sprintf(at, "10.%d.%d.%d ", i % 7, i / 256, i % 256);
	const struct tp_config config = {.variables = variables};
	void *memory = malloc(tp_config_memory(&config));
	struct tp_policy policy;
	struct result result = {.count = 0};
	tp_config_read(&config, memory, &policy,
		       (struct tp_mistake_sink){collect, &result});
	ck_assert_uint_eq(result.count, 0);
	ck_assert_uint_eq(policy.rules[0].trust.count, 10000);
	ck_assert(trusts(&policy, "10.3.39.15")); /* 9999 */
	ck_assert(!trusts(&policy, "10.4.39.15"));
	free(memory);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("config");
	tcase_add_test(tcase, without_variables_nothing_is_touched);
	tcase_add_test(tcase, trust_alone_leaves_the_defaults);
	tcase_add_test(tcase, without_trust_the_others_are_read_all_the_same);
	tcase_add_loop_test(tcase, an_empty_variable_counts_as_unset, 0,
			    (int)(COUNT(names) * COUNT(empty)));
	tcase_add_table(tcase, the_variables_there_are_are_known, names);
	tcase_add_test(tcase, other_variables_are_not_looked_at);
	tcase_add_test(tcase, of_two_with_one_name_the_first_counts);
	tcase_add_test(tcase, the_order_of_the_variables_means_nothing);
	tcase_add_table(tcase, trust_says_who, trust);
	tcase_add_table(tcase, listen_says_where, listens);
	tcase_add_test(tcase, header_is_required_or_optional);
	tcase_add_test(tcase, untrusted_pass_or_are_rejected);
	tcase_add_table(tcase, versions_are_those_named, versions);
	tcase_add_table(tcase, timeout_is_a_time, timeouts);
	tcase_add_test(tcase, max_header_is_a_number_of_bytes);
	tcase_add_test(tcase, ipv6_is_one_of_four);
	tcase_add_table(tcase, log_says_where_to_and_how_much, logs);
	tcase_add_test(tcase, the_file_of_counters_is_named);
	tcase_add_table(tcase, the_file_of_counters_can_be_asked_for_alone, stats_alone);
	tcase_add_test(tcase, the_log_is_set_although_another_is_wrong);
	tcase_add_test(tcase, the_log_is_set_as_far_as_it_was_right);
	tcase_add_table(tcase, a_mistake_names_the_variable_and_the_word, mistakes);
	tcase_add_table(tcase, a_program_is_named_or_not, programs);
	tcase_add_table(tcase, inherited_says_which, inherited);
	tcase_add_test(tcase, inherited_is_known_although_others_are_wrong);
	tcase_add_test(tcase, unix_is_trusted_alone_or_beside_others);
	tcase_add_loop_test(tcase, unix_may_be_trusted_where_the_word_is_beside_a_mistake,
			    0, sizeof beside_a_mistake / sizeof *beside_a_mistake);
	tcase_add_test(tcase, a_path_is_a_place_to_listen);
	tcase_add_test(tcase, a_path_is_one_that_a_socket_can_have);
	tcase_add_test(tcase, sockname_is_the_kernels_or_the_headers);
	tcase_add_loop_test(tcase, keys_follow_the_variables, 0, (int)tp_setting_count);
	tcase_add_test(tcase, a_line_is_a_rule);
	tcase_add_test(tcase, each_rule_starts_from_the_defaults);
	tcase_add_table(tcase, the_same_can_be_written_in_other_ways, same);
	tcase_add_table(tcase, every_mistake_is_told_with_its_line, wrong_files);
	tcase_add_test(tcase, a_nul_is_a_byte_like_any_other_that_is_wrong);
	tcase_add_test(tcase, settings_of_the_process_have_lines_of_their_own);
	tcase_add_table(tcase, a_file_may_be_for_some_programs, limits);
	tcase_add_test(tcase, variables_of_the_process_count_before_the_file);
	tcase_add_test(tcase, the_variables_make_the_last_rule);
	tcase_add_test(tcase, variables_beside_a_file_make_a_whole_rule_or_none);
	tcase_add_test(tcase, who_rejects_everybody_else_trusts_somebody);
	tcase_add_test(tcase, a_file_may_hold_the_process_and_the_variables_the_rule);
	tcase_add_test(tcase, the_file_at_the_fixed_place_may_be_empty);
	tcase_add_test(tcase, a_rule_may_be_there_for_the_untrusted_alone);
	tcase_add_table(tcase, the_file_is_the_named_one_or_the_fixed_one, wanted);
	tcase_add_test(tcase, any_text_is_read_within_its_memory);
	tcase_add_test(tcase, max_pending_is_the_process_s);
	tcase_add_test(tcase, defer_is_one_of_three);
	tcase_add_test(tcase, local_headers_are_accepted_or_rejected);
	tcase_add_test(tcase, chain_is_a_number_of_headers);
	tcase_add_test(tcase, lenient_names_what_is_relaxed);
	tcase_add_test(tcase, the_memory_asked_for_is_always_enough);
	tcase_add_test(tcase, ten_thousand_prefixes_are_taken);
	return run_tests("config", tcase);
}
