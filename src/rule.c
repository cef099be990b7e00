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

/* Whether what is in `inner` is in `outer`, too; `inner` comes later in the order. */
static bool is_around(const struct tp_prefix *outer, const struct tp_prefix *inner)
{
	struct tp_addr first = {.family = inner->family};
	memcpy(first.ip, inner->ip, sizeof inner->ip);
	return tp_prefix_contains(outer, &first);
}

static bool is_same(const struct tp_prefix *one, const struct tp_prefix *other)
{
	return one->family == other->family && one->length == other->length &&
	       !memcmp(one->ip, other->ip, sizeof one->ip);
}

/* The place + 1 of the last prefix next around the one at `at`; 0: there is none. */
static uint32_t find_outer(const struct tp_sources *sources, size_t at)
{
	const struct tp_prefix *prefixes = sources->prefixes.prefixes;
	uint32_t outer = (uint32_t)at;
	if (at && is_same(&prefixes[at - 1], &prefixes[at]))
		return sources->outer[at - 1];
	while (outer && !is_around(&prefixes[outer - 1], &prefixes[at]))
		outer = sources->outer[outer - 1];
	return outer;
}

void tp_policy_gather_sources(struct tp_policy *policy, void *memory)
{
	struct tp_sources *sources = &policy->sources;
	struct tp_prefix_set *set = &sources->prefixes;
	*set = (struct tp_prefix_set){.prefixes = memory};
	for (uint32_t i = 0; i < policy->rule_count; i++) {
		const struct tp_prefix_set *trust = &policy->rules[i].trust;
		for (size_t k = 0; k < trust->count; k++) {
			set->prefixes[set->count] = trust->prefixes[k];
			set->prefixes[set->count++].tag = i;
		}
	}
	tp_prefix_set_sort(set);
	sources->outer = (uint32_t *)(set->prefixes + set->count);
	for (size_t i = 0; i < set->count; i++)
		sources->outer[i] = find_outer(sources, i);
}

/* The first rule before `end` that has this very source and listens there. */
static const struct tp_rule *find_first(const struct tp_policy *policy,
					const struct tp_prefix *source,
					const struct tp_addr *local,
					const struct tp_rule *end)
{
	const struct tp_prefix *at = source;
	while (&policy->rules[at->tag] < end) {
		if (!local || listens(&policy->rules[at->tag], local))
			return &policy->rules[at->tag];
		if (at == policy->sources.prefixes.prefixes || !is_same(--at, source))
			break;
	}
	return end;
}

/* The first rule that trusts the sender on this listener; NULL local: on some listener.
 */
static const struct tp_rule *find_trusting(const struct tp_policy *policy,
					   const struct tp_addr *sender,
					   const struct tp_addr *local)
{
	const struct tp_sources *sources = &policy->sources;
	const struct tp_prefix *prefixes = sources->prefixes.prefixes;
	const struct tp_prefix *at = tp_prefix_set_last_up_to(&sources->prefixes, sender);
	const struct tp_rule *none = policy->rules + policy->rule_count, *first = none;
	bool inside = false; /* and so in all that are around */
	while (at) {
		inside = inside || tp_prefix_contains(at, sender);
		if (inside)
			first = find_first(policy, at, local, first);
		uint32_t outer = sources->outer[at - prefixes];
		at = outer ? &prefixes[outer - 1] : NULL;
	}
	return first == none ? NULL : first;
}

/* The first rule that says something of the untrusted there. */
static const struct tp_rule *find_judging(const struct tp_policy *policy,
					  const struct tp_addr *local)
{
	for (size_t i = 0; policy->rejects && i < policy->rule_count; i++)
		if (policy->rules[i].untrusted &&
		    (!local || listens(&policy->rules[i], local)))
			return &policy->rules[i];
	return NULL;
}

bool tp_policy_match(const struct tp_policy *policy, const struct tp_addr *sender,
		     const struct tp_addr *local, struct tp_match *match)
{
	const struct tp_rule *rule = find_trusting(policy, sender, local);
	*match = (struct tp_match){.rule = rule, .trusted = rule};
	if (!rule)
		rule = find_judging(policy, local);
	if (rule && (match->trusted || rule->untrusted == TP_UNTRUSTED_REJECT))
		match->rule = rule;
	return !rule || local || !rule->listen_count;
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
