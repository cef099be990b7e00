/* SPDX-License-Identifier: MIT */
#include "rule.h"

#include "unit.h"

static struct tp_addr addr(const char *text, uint16_t port)
{
	struct tp_addr made = {0};
	ck_assert(tp_addr_parse(text, strlen(text), AF_INET, &made) ||
		  tp_addr_parse(text, strlen(text), AF_INET6, &made));
	made.port = port;
	return made;
}

/* ip NULL: any address; "0.0.0.0" and "::": any of that family. */
static struct tp_listen listen_on(const char *ip, uint16_t first, uint16_t last)
{
	struct tp_listen listen = {.first_port = first, .last_port = last};
	if (ip) {
		listen.addr = addr(ip, 0);
		listen.any_ip = !strcmp(ip, "0.0.0.0") || !strcmp(ip, "::");
	}
	return listen;
}

static const struct {
	const char *ip;
	uint16_t first, last;
	const char *local;
	uint16_t port;
	bool listens;
} cases[] = {
	{NULL, 25, 25, "192.0.2.1", 25, true},
	{NULL, 25, 25, "2001:db8::1", 25, true},
	{NULL, 25, 25, "192.0.2.1", 24, false},
	{NULL, 25, 25, "192.0.2.1", 26, false},
	{NULL, 1000, 2000, "192.0.2.1", 999, false},
	{NULL, 1000, 2000, "192.0.2.1", 1000, true},
	{NULL, 1000, 2000, "192.0.2.1", 1500, true},
	{NULL, 1000, 2000, "192.0.2.1", 2000, true},
	{NULL, 1000, 2000, "192.0.2.1", 2001, false},
	{NULL, 1, 65535, "192.0.2.1", 65535, true},
	{"192.0.2.1", 25, 25, "192.0.2.1", 25, true},
	{"192.0.2.1", 25, 25, "192.0.2.1", 26, false},
	{"192.0.2.1", 25, 25, "192.0.2.2", 25, false},
	{"192.0.2.1", 25, 25, "::ffff:192.0.2.1", 25, true},
	{"192.0.2.1", 25, 25, "::ffff:192.0.2.2", 25, false},
	{"192.0.2.1", 25, 25, "c000:201::", 25, false},
	{"2001:db8::1", 25, 25, "2001:db8::1", 25, true},
	{"2001:db8::1", 25, 25, "2001:db8::2", 25, false},
	{"2001:db8::1", 25, 25, "192.0.2.1", 25, false},
	{"0.0.0.0", 25, 25, "192.0.2.1", 25, true},
	{"0.0.0.0", 25, 25, "::ffff:192.0.2.1", 25, true},
	{"0.0.0.0", 25, 25, "2001:db8::1", 25, false},
	{"0.0.0.0", 25, 25, "192.0.2.1", 26, false},
	{"::", 25, 25, "2001:db8::1", 25, true},
	{"::", 25, 25, "192.0.2.1", 25, true},
	{"::", 25, 25, "::ffff:192.0.2.1", 25, true},
	{"::", 25, 25, "2001:db8::1", 26, false},
};

static struct tp_prefix all[2] = {{.family = AF_INET}, {.family = AF_INET6}};
#define EVERYBODY                                                                        \
	{                                                                                \
		all, 2, 1                                                                \
	}

/* Whether a rule with these places, and everybody trusted, applies. */
static bool applies(struct tp_listen *listen, size_t count, const struct tp_addr *local)
{
	struct tp_rule rule = {
		.listen = listen, .listen_count = count, .trust = EVERYBODY};
	struct tp_policy policy = {.rules = &rule, .rule_count = 1};
	struct tp_addr sender = addr("192.0.2.200", 1);
	struct tp_match match;
	uint64_t memory[TP_SOURCES_MEMORY(2) / 8 + 1];
	tp_policy_gather_sources(&policy, memory);
	ck_assert(tp_policy_match(&policy, &sender, local, &match));
	ck_assert(match.rule == (match.trusted ? &rule : NULL));
	return match.trusted;
}

START_TEST(a_rule_listens_where_it_says)
{
	struct tp_listen listen =
		listen_on(cases[_i].ip, cases[_i].first, cases[_i].last);
	struct tp_addr local = addr(cases[_i].local, cases[_i].port);
	ck_assert(applies(&listen, 1, &local) == cases[_i].listens);
}
END_TEST

START_TEST(any_of_several_places_will_do)
{
	struct tp_listen listens[] = {listen_on(NULL, 25, 25),
				      listen_on("192.0.2.1", 587, 587),
				      listen_on("2001:db8::1", 1000, 2000)};
	struct tp_addr first = addr("10.0.0.1", 25), second = addr("192.0.2.1", 587);
	struct tp_addr third = addr("2001:db8::1", 1234), none = addr("10.0.0.1", 587);
	ck_assert(applies(listens, COUNT(listens), &first));
	ck_assert(applies(listens, COUNT(listens), &second));
	ck_assert(applies(listens, COUNT(listens), &third));
	ck_assert(!applies(listens, COUNT(listens), &none));
}
END_TEST

START_TEST(a_rule_without_places_listens_everywhere)
{
	struct tp_addr ipv4 = addr("192.0.2.1", 25), ipv6 = addr("::1", 65535);
	ck_assert(applies(NULL, 0, &ipv4));
	ck_assert(applies(NULL, 0, &ipv6));
	ck_assert(applies(NULL, 0, NULL));
}
END_TEST

START_TEST(a_rule_with_places_does_not_listen_nowhere)
{
	struct tp_listen listen = listen_on(NULL, 25, 25);
	struct tp_addr none = {.family = AF_UNSPEC};
	ck_assert(!applies(&listen, 1, &none));
}
END_TEST

/* ---- several rules ---- */

/*
 * Rules as the table below has them: one letter each side of the port.
 * sources  'a' all, 'x' 10.0.0.0/8, 'y' 10.0.0.5, 'z' 2001:db8::/32, '-' nobody
 * port     0: every listener
 * untrusted
 */
struct short_rule {
	char source;
	uint16_t port;
	enum tp_untrusted untrusted;
};

#define RULES 4
static struct tp_prefix prefixes[RULES];
static struct tp_listen places[RULES];
static struct tp_rule rules[RULES];

static struct tp_policy policy_of(const struct short_rule *from, size_t count)
{
	struct tp_policy policy = {.rules = rules, .rule_count = count};
	for (size_t i = 0; i < count; i++) {
		const char *text = from[i].source == 'x'   ? "10.0.0.0/8"
				   : from[i].source == 'y' ? "10.0.0.5"
							   : "2001:db8::/32";
		rules[i] = (struct tp_rule){.untrusted = from[i].untrusted};
		ck_assert_ptr_null(tp_prefix_parse(text, strlen(text), &prefixes[i]));
		if (from[i].source == 'a')
			rules[i].trust = (struct tp_prefix_set)EVERYBODY;
		else if (from[i].source != '-')
			rules[i].trust = (struct tp_prefix_set){&prefixes[i], 1, 0};
		tp_prefix_set_finish(&rules[i].trust);
		if (from[i].port) {
			places[i] = listen_on(NULL, from[i].port, from[i].port);
			rules[i].listen = &places[i];
			rules[i].listen_count = 1;
		}
		policy.rejects =
			policy.rejects || from[i].untrusted == TP_UNTRUSTED_REJECT;
	}
	static uint64_t memory[TP_SOURCES_MEMORY(2 * RULES) / 8 + 1];
	tp_policy_gather_sources(&policy, memory);
	return policy;
}

enum { UNTOUCHED, TRUSTED, REJECTED };
#define UNSAID TP_UNTRUSTED_UNSAID
#define PASS TP_UNTRUSTED_PASS
#define REJECT TP_UNTRUSTED_REJECT

static const struct {
	struct short_rule rules[RULES];
	size_t count;
	const char *sender;
	uint16_t port;
	int what;
	int rule; /* from 0 */
	bool needs_local;
} matches[] = {
	/* The first rule that matches counts. */
	{{{'y', 0, UNSAID}, {'x', 0, UNSAID}}, 2, "10.0.0.5", 25, TRUSTED, 0, false},
	{{{'y', 0, UNSAID}, {'x', 0, UNSAID}}, 2, "10.0.0.6", 25, TRUSTED, 1, false},
	{{{'x', 0, UNSAID}, {'y', 0, UNSAID}}, 2, "10.0.0.5", 25, TRUSTED, 0, false},
	{{{'y', 0, UNSAID}, {'x', 0, UNSAID}}, 2, "11.0.0.5", 25, UNTOUCHED, 0, false},
	{{{'y', 0, UNSAID}, {'x', 0, UNSAID}},
	 2,
	 "::ffff:10.0.0.5",
	 25,
	 TRUSTED,
	 0,
	 false},
	{{{'x', 25, UNSAID}, {'x', 80, UNSAID}}, 2, "10.0.0.5", 80, TRUSTED, 1, true},
	{{{'x', 25, UNSAID}, {'x', 80, UNSAID}}, 2, "10.0.0.5", 25, TRUSTED, 0, true},
	{{{'x', 25, UNSAID}, {'x', 80, UNSAID}}, 2, "10.0.0.5", 81, UNTOUCHED, 0, true},
	{{{'x', 25, UNSAID}, {'x', 0, UNSAID}}, 2, "10.0.0.5", 81, TRUSTED, 1, true},
	/* The local address is needed only where it decides. */
	{{{'x', 0, UNSAID}, {'x', 25, UNSAID}}, 2, "10.0.0.5", 25, TRUSTED, 0, false},
	{{{'z', 25, UNSAID}, {'x', 0, UNSAID}}, 2, "10.0.0.5", 25, TRUSTED, 1, false},
	{{{'z', 25, UNSAID}}, 1, "10.0.0.5", 25, UNTOUCHED, 0, false},
	{{{'z', 25, PASS}}, 1, "10.0.0.5", 25, UNTOUCHED, 0, false},
	{{{'z', 25, REJECT}}, 1, "10.0.0.5", 25, REJECTED, 0, true},
	{{{'z', 25, REJECT}}, 1, "10.0.0.5", 26, UNTOUCHED, 0, true},
	{{{'z', 0, REJECT}}, 1, "10.0.0.5", 26, REJECTED, 0, false},
	/* Untrusted: the first rule for the listener that says something counts. */
	{{{'y', 0, UNSAID}, {'z', 0, REJECT}}, 2, "11.0.0.1", 25, REJECTED, 1, false},
	{{{'y', 0, PASS}, {'z', 0, REJECT}}, 2, "11.0.0.1", 25, UNTOUCHED, 0, false},
	{{{'y', 0, REJECT}, {'z', 0, PASS}}, 2, "11.0.0.1", 25, REJECTED, 0, false},
	{{{'y', 25, PASS}, {'z', 0, REJECT}}, 2, "11.0.0.1", 25, UNTOUCHED, 0, true},
	{{{'y', 25, PASS}, {'z', 0, REJECT}}, 2, "11.0.0.1", 80, REJECTED, 1, true},
	{{{'y', 25, REJECT}, {'z', 80, PASS}}, 2, "11.0.0.1", 80, UNTOUCHED, 0, true},
	/* Whoever a later rule trusts is trusted. */
	{{{'y', 0, REJECT}, {'x', 0, UNSAID}}, 2, "10.0.0.6", 25, TRUSTED, 1, false},
	{{{'y', 0, REJECT}, {'x', 80, UNSAID}}, 2, "10.0.0.6", 25, REJECTED, 0, true},
	{{{'y', 0, REJECT}, {'x', 80, UNSAID}}, 2, "10.0.0.6", 80, TRUSTED, 1, true},
	/* A rule for nobody trusts nobody. */
	{{{'-', 0, REJECT}}, 1, "10.0.0.6", 25, REJECTED, 0, false},
	{{{'x', 25, UNSAID}, {'-', 25, REJECT}}, 2, "10.0.0.6", 25, TRUSTED, 0, true},
	{{{'x', 25, UNSAID}, {'-', 25, REJECT}}, 2, "11.0.0.6", 25, REJECTED, 1, true},
	{{{'x', 25, UNSAID}, {'-', 25, REJECT}}, 2, "11.0.0.6", 80, UNTOUCHED, 0, true},
	{{{'-', 0, UNSAID}}, 1, "::1", 25, UNTOUCHED, 0, false},
};

START_TEST(rules_say_what_becomes_of_a_connection)
{
	struct tp_policy policy = policy_of(matches[_i].rules, matches[_i].count);
	struct tp_addr sender = addr(matches[_i].sender, 1);
	struct tp_addr local = addr("192.0.2.1", matches[_i].port);
	struct tp_match match;
	ck_assert(tp_policy_match(&policy, &sender, &local, &match));
	if (matches[_i].what == UNTOUCHED)
		ck_assert_ptr_null(match.rule);
	else
		ck_assert_ptr_eq(match.rule, &rules[matches[_i].rule]);
	ck_assert(match.trusted == (matches[_i].what == TRUSTED));
	struct tp_match without = {0};
	bool known = tp_policy_match(&policy, &sender, NULL, &without);
	ck_assert(known == !matches[_i].needs_local);
	if (known)
		ck_assert(without.rule == match.rule && without.trusted == match.trusted);
}
END_TEST

#define SOCKET "/run/a.sock"

/* ---- many rules, held against a look at one after the other ---- */

#define MANY 400

static unsigned next_random(void)
{
	static uint64_t state = 1;
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33);
}

/* Few different ones, so that they lie in each other, and are there more than once. */
static struct tp_addr random_sender(unsigned family)
{
	struct tp_addr made = {.family = family % 2 ? AF_INET6 : AF_INET};
	for (size_t i = 0; i < 4; i++)
		made.ip[i] = (uint8_t)(next_random() % 3 << 6);
	return made;
}

static struct tp_prefix random_prefix(void)
{
	struct tp_addr sender = random_sender(next_random());
	struct tp_prefix made = {.family = sender.family,
				 .length = (uint8_t)(next_random() % 17 * 2)};
	memcpy(made.ip, sender.ip, sizeof made.ip);
	for (unsigned bit = made.length; bit < 128; bit++)
		made.ip[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
	return made;
}

static const struct tp_rule *look_at_each(const struct tp_policy *policy,
					  const struct tp_addr *sender, uint16_t port,
					  bool *trusted)
{
	const struct tp_rule *judge = NULL;
	*trusted = true;
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct tp_rule *rule = &policy->rules[i];
		if (rule->listen_count && rule->listen->first_port != port)
			continue;
		if (tp_prefix_set_contains(&rule->trust, sender))
			return rule;
		if (!judge && rule->untrusted)
			judge = rule;
	}
	*trusted = false;
	return judge && judge->untrusted == REJECT ? judge : NULL;
}

START_TEST(many_rules_say_what_one_after_the_other_says)
{
	static struct tp_rule made[MANY];
	static struct tp_prefix sources[MANY][2];
	static uint64_t memory[TP_SOURCES_MEMORY(2 * MANY) / 8 + 1];
	static struct tp_listen smtp, imap;
	struct tp_policy policy = {.rules = made, .rule_count = MANY, .rejects = _i % 2};
	size_t found = 0;
	smtp = listen_on(NULL, 25, 25), imap = listen_on(NULL, 143, 143);
	for (size_t i = 0; i < MANY; i++) {
		sources[i][0] = random_prefix(), sources[i][1] = random_prefix();
		made[i] = (struct tp_rule){.trust = {sources[i], next_random() % 3, 0}};
		tp_prefix_set_finish(&made[i].trust);
		made[i].listen = next_random() % 2 ? &smtp : &imap;
		made[i].listen_count = next_random() % 8 > 0;
		if (policy.rejects && next_random() % 64 == 0)
			made[i].untrusted = next_random() % 2 ? REJECT : PASS;
	}
	tp_policy_gather_sources(&policy, memory);
	for (unsigned i = 0; i < 2000; i++) {
		struct tp_addr sender = random_sender(i), local = addr("192.0.2.1", 25);
		struct tp_match match;
		bool trusted;
		const struct tp_rule *rule = look_at_each(&policy, &sender, 25, &trusted);
		ck_assert(tp_policy_match(&policy, &sender, &local, &match));
		ck_assert_ptr_eq(match.rule, rule);
		ck_assert(match.trusted == (rule && trusted));
		found += match.trusted;
	}
	ck_assert_uint_gt(found, 100);
}
END_TEST

START_TEST(rules_of_one_source_are_passed_at_once)
{
	static struct tp_rule made[MANY];
	static struct tp_prefix sources[MANY];
	static uint64_t memory[TP_SOURCES_MEMORY(MANY) / 8 + 1];
	struct tp_policy policy = {.rules = made, .rule_count = MANY};
	size_t steps = 0;
	for (size_t i = 0; i < MANY; i++) {
		const char *text = i == 0 ? "10.1.0.0/16" : i % 2 ? "10.0.0.0/8" : "::/0";
		ck_assert_ptr_null(tp_prefix_parse(text, strlen(text), &sources[i]));
		made[i].trust = (struct tp_prefix_set){&sources[i], 1, 0};
		tp_prefix_set_finish(&made[i].trust);
	}
	tp_policy_gather_sources(&policy, memory);
	for (size_t at = policy.sources.prefixes.ipv4_count; at; steps++)
		at = policy.sources.outer[at - 1];
	ck_assert_uint_eq(steps, 2);
}
END_TEST

START_TEST(a_path_is_in_scope_by_its_every_byte)
{
	struct tp_listen listens[] = {
		listen_on(NULL, 25, 25),
		{.first_port = 1, .path = {SOCKET, strlen(SOCKET)}}};
	struct tp_rule made[] = {
		{.trusts_unix = true, .listen = listens, .listen_count = 1},
		{.listen = listens, .listen_count = 2},
		{.trusts_unix = true, .listen = listens, .listen_count = 2},
		{.trusts_unix = true}};
	struct tp_policy paths = {.rules = made, .rule_count = 3},
			 every = {.rules = made, .rule_count = 4};
	struct tp_addr other = addr("192.0.2.1", 1), none = {.family = AF_UNSPEC};
	ck_assert_ptr_eq(tp_policy_match_unix(&paths, SOCKET, strlen(SOCKET)), &made[2]);
	ck_assert_ptr_null(tp_policy_match_unix(&paths, SOCKET, strlen(SOCKET) - 1));
	ck_assert_ptr_null(tp_policy_match_unix(&paths, SOCKET "x", strlen(SOCKET) + 1));
	ck_assert_ptr_null(tp_policy_match_unix(&paths, "", 0));
	ck_assert_ptr_eq(tp_policy_match_unix(&every, "/x", 2), &made[3]);
	ck_assert_ptr_eq(tp_policy_match_unix(&every, "", 0), &made[3]);
	ck_assert(!applies(&listens[1], 1, &other) && !applies(&listens[1], 1, &none));
}
END_TEST

/* ---- listeners ---- */

START_TEST(rules_listen_where_any_of_them_may)
{
	const struct short_rule from[] = {{'x', 25, UNSAID}, {'x', 80, UNSAID}};
	struct tp_policy policy = policy_of(from, 2);
	struct tp_addr any = addr("::", 80), one = addr("192.0.2.1", 25),
		       other = addr("0.0.0.0", 81);
	ck_assert(tp_policy_listens_on(&policy, &any));
	ck_assert(tp_policy_listens_on(&policy, &one));
	ck_assert(!tp_policy_listens_on(&policy, &other));
	places[0] = listen_on("192.0.2.7", 25, 25);
	ck_assert(!tp_policy_listens_on(&policy, &one));
	any.port = 25;
	ck_assert(tp_policy_listens_on(&policy, &any));
}
END_TEST

static const struct {
	struct short_rule rules[RULES];
	enum tp_defer defer[RULES];
	int optional; /* the rule where headers are, or -1 */
	size_t count;
	int asks; /* the rule that asks for it, or -1 */
} defers[] = {
	{{{'x', 0, UNSAID}}, {TP_DEFER_UNSAID}, -1, 1, -1},
	{{{'x', 0, UNSAID}}, {TP_DEFER_OFF}, -1, 1, -1},
	{{{'x', 0, UNSAID}}, {TP_DEFER_ON}, -1, 1, 0},
	{{{'x', 0, PASS}}, {TP_DEFER_AUTO}, -1, 1, -1},
	{{{'x', 0, UNSAID}}, {TP_DEFER_AUTO}, -1, 1, -1},
	{{{'x', 0, REJECT}}, {TP_DEFER_AUTO}, -1, 1, 0},
	{{{'x', 0, REJECT}}, {TP_DEFER_AUTO}, 0, 1, -1},
	{{{'a', 0, UNSAID}}, {TP_DEFER_AUTO}, -1, 1, 0},
	{{{'a', 0, UNSAID}}, {TP_DEFER_AUTO}, 0, 1, -1},
	{{{'x', 25, REJECT}}, {TP_DEFER_AUTO}, -1, 1, 0},
	{{{'x', 80, REJECT}}, {TP_DEFER_ON}, -1, 1, -1},
	/* Where none says it, it is auto. */
	{{{'x', 0, REJECT}}, {TP_DEFER_UNSAID}, -1, 1, 0},
	{{{'x', 0, REJECT}, {'y', 0, UNSAID}}, {0, TP_DEFER_OFF}, -1, 2, -1},
	{{{'x', 0, UNSAID}, {'y', 0, UNSAID}}, {0, TP_DEFER_ON}, -1, 2, 1},
	/* The first rule for the listener that says it. */
	{{{'x', 80, UNSAID}, {'x', 0, UNSAID}}, {TP_DEFER_OFF, TP_DEFER_ON}, -1, 2, 1},
	{{{'x', 25, UNSAID}, {'x', 0, UNSAID}}, {TP_DEFER_OFF, TP_DEFER_ON}, -1, 2, -1},
	{{{'x', 25, UNSAID}, {'x', 0, UNSAID}}, {TP_DEFER_UNSAID, TP_DEFER_ON}, -1, 2, 1},
	/* auto looks at all rules for the listener. */
	{{{'y', 0, UNSAID}, {'x', 0, REJECT}}, {TP_DEFER_AUTO, 0}, -1, 2, 0},
	{{{'y', 0, UNSAID}, {'x', 0, REJECT}}, {TP_DEFER_AUTO, 0}, 0, 2, -1},
	{{{'y', 80, UNSAID}, {'x', 0, REJECT}}, {0, TP_DEFER_AUTO}, 0, 2, 1},
	{{{'y', 0, PASS}, {'x', 0, REJECT}}, {TP_DEFER_AUTO, 0}, -1, 2, -1},
	{{{'y', 0, UNSAID}, {'a', 0, UNSAID}}, {TP_DEFER_AUTO, 0}, -1, 2, 0},
};

START_TEST(connections_are_deferred_where_a_rule_asks_for_it)
{
	struct tp_policy policy = policy_of(defers[_i].rules, defers[_i].count);
	struct tp_addr bound = addr("0.0.0.0", 25);
	for (size_t i = 0; i < defers[_i].count; i++)
		rules[i].defer = defers[_i].defer[i];
	if (defers[_i].optional >= 0)
		rules[defers[_i].optional].header_optional = true;
	const struct tp_rule *rule = tp_policy_defers(&policy, &bound);
	ck_assert(rule == (defers[_i].asks < 0 ? NULL : &rules[defers[_i].asks]));
}
END_TEST

START_TEST(a_listener_with_other_connections_is_not_deferred_by_itself)
{
	const struct short_rule from[] = {{'x', 25, REJECT}};
	struct tp_policy policy = policy_of(from, 1);
	struct tp_addr any = addr("0.0.0.0", 25), one = addr("192.0.2.1", 25);
	places[0] = listen_on("192.0.2.1", 25, 25);
	rules[0].defer = TP_DEFER_AUTO;
	ck_assert_ptr_null(tp_policy_defers(&policy, &any));
	ck_assert_ptr_eq(tp_policy_defers(&policy, &one), &rules[0]);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("rule");
	tcase_add_table(tcase, a_rule_listens_where_it_says, cases);
	tcase_add_test(tcase, any_of_several_places_will_do);
	tcase_add_test(tcase, a_rule_without_places_listens_everywhere);
	tcase_add_test(tcase, a_rule_with_places_does_not_listen_nowhere);
	tcase_add_table(tcase, rules_say_what_becomes_of_a_connection, matches);
	tcase_add_loop_test(tcase, many_rules_say_what_one_after_the_other_says, 0, 8);
	tcase_add_test(tcase, rules_of_one_source_are_passed_at_once);
	tcase_add_test(tcase, a_path_is_in_scope_by_its_every_byte);
	tcase_add_test(tcase, rules_listen_where_any_of_them_may);
	tcase_add_table(tcase, connections_are_deferred_where_a_rule_asks_for_it, defers);
	tcase_add_test(tcase,
		       a_listener_with_other_connections_is_not_deferred_by_itself);
	return run_tests("rule", tcase);
}
