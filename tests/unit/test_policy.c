/* SPDX-License-Identifier: MIT */
#include "policy.h"

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

START_TEST(a_rule_listens_where_it_says)
{
	struct tp_listen listen =
		listen_on(cases[_i].ip, cases[_i].first, cases[_i].last);
	struct tp_rule rule = {.listen = &listen, .listen_count = 1};
	struct tp_addr local = addr(cases[_i].local, cases[_i].port);
	ck_assert(tp_rule_listens(&rule, &local) == cases[_i].listens);
}
END_TEST

START_TEST(any_of_several_places_will_do)
{
	struct tp_listen listens[] = {listen_on(NULL, 25, 25),
				      listen_on("192.0.2.1", 587, 587),
				      listen_on("2001:db8::1", 1000, 2000)};
	struct tp_rule rule = {.listen = listens, .listen_count = COUNT(listens)};
	struct tp_addr first = addr("10.0.0.1", 25), second = addr("192.0.2.1", 587);
	struct tp_addr third = addr("2001:db8::1", 1234), none = addr("10.0.0.1", 587);
	ck_assert(tp_rule_listens(&rule, &first));
	ck_assert(tp_rule_listens(&rule, &second));
	ck_assert(tp_rule_listens(&rule, &third));
	ck_assert(!tp_rule_listens(&rule, &none));
}
END_TEST

START_TEST(a_rule_without_places_listens_everywhere)
{
	struct tp_rule rule = {.listen_count = 0};
	struct tp_addr ipv4 = addr("192.0.2.1", 25), ipv6 = addr("::1", 65535);
	ck_assert(tp_rule_listens(&rule, &ipv4));
	ck_assert(tp_rule_listens(&rule, &ipv6));
}
END_TEST

START_TEST(a_rule_with_places_does_not_listen_nowhere)
{
	struct tp_listen listen = listen_on(NULL, 25, 25);
	struct tp_rule rule = {.listen = &listen, .listen_count = 1};
	struct tp_addr none = {.family = AF_UNSPEC};
	ck_assert(!tp_rule_listens(&rule, &none));
}
END_TEST

START_TEST(a_rule_trusts_whom_it_names)
{
	struct tp_prefix prefixes[2];
	struct tp_rule rule = {.trust = {prefixes, 2}};
	struct tp_addr inside = addr("10.1.2.3", 1), mapped = addr("::ffff:10.1.2.3", 1);
	struct tp_addr ipv6 = addr("2001:db8::5", 1), outside = addr("11.0.0.1", 1);
	ck_assert_ptr_null(tp_prefix_parse("10.0.0.0/8", 10, &prefixes[0]));
	ck_assert_ptr_null(tp_prefix_parse("2001:db8::/32", 13, &prefixes[1]));
	tp_prefix_set_finish(&rule.trust);
	ck_assert(tp_rule_trusts(&rule, &inside));
	ck_assert(tp_rule_trusts(&rule, &mapped));
	ck_assert(tp_rule_trusts(&rule, &ipv6));
	ck_assert(!tp_rule_trusts(&rule, &outside));
}
END_TEST

START_TEST(a_rule_without_trust_trusts_nobody)
{
	struct tp_rule rule = {0};
	struct tp_addr ipv4 = addr("127.0.0.1", 1), ipv6 = addr("::1", 1);
	ck_assert(!tp_rule_trusts(&rule, &ipv4));
	ck_assert(!tp_rule_trusts(&rule, &ipv6));
}
END_TEST

#define SOCKET "/run/a.sock"

START_TEST(a_path_is_in_scope_by_its_every_byte)
{
	struct tp_listen listens[] = {
		listen_on(NULL, 25, 25),
		{.first_port = 1, .path = {SOCKET, strlen(SOCKET)}}};
	struct tp_rule rule = {.listen = listens, .listen_count = COUNT(listens)};
	struct tp_rule ports = {.listen = listens, .listen_count = 1}, every = {0};
	struct tp_addr other = addr("192.0.2.1", 1), none = {.family = AF_UNSPEC};
	ck_assert(tp_rule_listens_at(&rule, SOCKET, strlen(SOCKET)));
	ck_assert(!tp_rule_listens_at(&rule, SOCKET, strlen(SOCKET) - 1));
	ck_assert(!tp_rule_listens_at(&rule, SOCKET "x", strlen(SOCKET) + 1));
	ck_assert(!tp_rule_listens_at(&rule, "", 0));
	ck_assert(!tp_rule_listens_at(&ports, SOCKET, strlen(SOCKET)));
	ck_assert(!tp_rule_listens_at(&ports, "", 0));
	ck_assert(tp_rule_listens_at(&every, SOCKET, strlen(SOCKET)));
	ck_assert(tp_rule_listens_at(&every, "", 0));
	ck_assert(!tp_rule_listens(&rule, &other) && !tp_rule_listens(&rule, &none));
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("policy");
	tcase_add_table(tcase, a_rule_listens_where_it_says, cases);
	tcase_add_test(tcase, any_of_several_places_will_do);
	tcase_add_test(tcase, a_rule_without_places_listens_everywhere);
	tcase_add_test(tcase, a_rule_with_places_does_not_listen_nowhere);
	tcase_add_test(tcase, a_path_is_in_scope_by_its_every_byte);
	tcase_add_test(tcase, a_rule_trusts_whom_it_names);
	tcase_add_test(tcase, a_rule_without_trust_trusts_nobody);
	return run_tests("policy", tcase);
}
