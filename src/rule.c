/* SPDX-License-Identifier: MIT */
#include "rule.h"

#include <string.h>

static bool listen_matches(const struct tp_listen *listen, const struct tp_addr *local)
{
	if (local->port < listen->first_port || local->port > listen->last_port)
		return false;
	/* [::] takes IPv4 as well, as a dual-stack listener does. */
	if (listen->addr.family == AF_UNSPEC ||
	    (listen->any_ip && listen->addr.family == AF_INET6))
		return true;
	return listen->addr.family == local->family &&
	       (listen->any_ip ||
		!memcmp(listen->addr.ip, local->ip, tp_addr_size(local->family)));
}

/* Whether the rule applies to a connection with this local address. */
static bool listens(const struct tp_rule *rule, const struct tp_addr *local)
{
	struct tp_addr plain = tp_addr_unmap(*local);
	for (size_t i = 0; i < rule->listen_count; i++)
		if (listen_matches(&rule->listen[i], &plain))
			return true;
	return !rule->listen_count;
}

/* Whether it may apply to some connection of a listener bound to this address. */
static bool may_listen(const struct tp_rule *rule, const struct tp_addr *bound)
{
	static const uint8_t any_ip[16];
	struct tp_addr plain = tp_addr_unmap(*bound);
	bool any = !memcmp(plain.ip, any_ip, sizeof any_ip);
	for (size_t i = 0; any && i < rule->listen_count; i++)
		if (plain.port >= rule->listen[i].first_port &&
		    plain.port <= rule->listen[i].last_port)
			return true;
	return listens(rule, bound);
}

bool tp_policy_match(const struct tp_policy *policy, const struct tp_addr *sender,
		     const struct tp_addr *local, struct tp_match *match)
{
	*match = (struct tp_match){0};
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct tp_rule *rule = &policy->rules[i];
		bool trusts = tp_prefix_set_contains(&rule->trust, sender);
		bool judges = policy->rejects && rule->untrusted && !match->rule;
		if (!trusts && !judges)
			continue;
		if (rule->listen_count && !local)
			return false;
		if (rule->listen_count && !listens(rule, local))
			continue;
		match->rule = rule;
		match->trusted = trusts;
		if (trusts)
			return true;
	}
	if (match->rule && match->rule->untrusted == TP_UNTRUSTED_PASS)
		match->rule = NULL;
	return true;
}

static bool listens_at(const struct tp_rule *rule, const char *path, size_t len)
{
	for (size_t i = 0; i < rule->listen_count; i++)
		if (len && rule->listen[i].path.len == len &&
		    !memcmp(rule->listen[i].path.text, path, len))
			return true;
	return !rule->listen_count;
}

const struct tp_rule *tp_policy_match_unix(const struct tp_policy *policy,
					   const char *path, size_t len)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (policy->rules[i].trusts_unix &&
		    listens_at(&policy->rules[i], path, len))
			return &policy->rules[i];
	return NULL;
}

bool tp_policy_listens_on(const struct tp_policy *policy, const struct tp_addr *bound)
{
	for (size_t i = 0; i < policy->rule_count; i++)
		if (may_listen(&policy->rules[i], bound))
			return true;
	return false;
}

static bool trusts_all(const struct tp_rule *rule)
{
	static const struct tp_addr first4 = {.family = AF_INET},
				    first6 = {.family = AF_INET6};
	const struct tp_prefix_set *trust = &rule->trust;
	return trust->count == 2 && !trust->prefixes[0].length &&
	       !trust->prefixes[1].length && tp_prefix_set_contains(trust, &first4) &&
	       tp_prefix_set_contains(trust, &first6);
}

/* Whether every client of the listener brings a header, or is rejected. */
static bool has_headers_only(const struct tp_policy *policy, const struct tp_addr *bound)
{
	enum tp_untrusted untrusted = TP_UNTRUSTED_UNSAID;
	bool all = false;
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct tp_rule *rule = &policy->rules[i];
		if (!may_listen(rule, bound))
			continue;
		if (rule->header_optional)
			return false;
		bool wholly = listens(rule, bound);
		if (rule->untrusted && !untrusted)
			untrusted = wholly ? rule->untrusted : TP_UNTRUSTED_PASS;
		all = all || (wholly && trusts_all(rule));
	}
	return all || untrusted == TP_UNTRUSTED_REJECT;
}

const struct tp_rule *tp_policy_defers(const struct tp_policy *policy,
				       const struct tp_addr *bound)
{
	const struct tp_rule *first = NULL;
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct tp_rule *rule = &policy->rules[i];
		if (!may_listen(rule, bound))
			continue;
		if (rule->defer == TP_DEFER_OFF)
			return NULL;
		if (rule->defer == TP_DEFER_ON)
			return rule;
		if (!first)
			first = rule;
		if (rule->defer == TP_DEFER_AUTO)
			break;
	}
	return first && has_headers_only(policy, bound) ? first : NULL;
}
