/* SPDX-License-Identifier: MIT */
#include "policy.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "config.h"
#include "environ.h"
#include "inert.h"
#include "log.h"
#include "stats.h"

/* The policy and the lists it leads to, in one mapping. */
struct holder {
	struct tp_policy policy;
	max_align_t lists[];
};

static const struct tp_policy no_memory = {.state = TP_POLICY_BROKEN};
static const struct tp_policy inert = {.state = TP_POLICY_OFF};
static _Atomic(const struct tp_policy *) current;

static void tell_mistake(const struct tp_config_mistake *mistake)
{
	struct tp_text text = {0};
	tp_text_put(&text, mistake->variable);
	tp_text_put(&text, ": ");
	tp_text_put_quoted(&text, mistake->word, mistake->word_len);
	if (mistake->reason) {
		tp_text_put(&text, ": ");
		tp_text_put(&text, mistake->reason);
	}
	tp_text_put(&text, "; expected ");
	tp_text_put(&text, mistake->expected);
	tp_log_mistake(&text);
}

static void warn(const char *before, const char *name, size_t name_len, const char *after)
{
	struct tp_text text = {0};
	tp_text_put(&text, before);
	if (name)
		tp_text_put_quoted(&text, name, name_len);
	tp_text_put(&text, after);
	tp_log(TP_LOG_WARNING, &text);
}

static void warn_of_unknown(const char *const *variables)
{
	for (; *variables; variables++)
		if (!strncmp(*variables, TP_ENVIRON_PREFIX, strlen(TP_ENVIRON_PREFIX)) &&
		    !tp_config_knows(*variables))
			warn("there is no variable ", *variables,
			     strcspn(*variables, "="), "; it is ignored");
}

static void open_stats(const struct tp_path *path)
{
	const char *reason = tp_stats_open(path->text, path->len, true);
	struct tp_text text = {0};
	if (!reason)
		return;
	tp_text_put(&text, "TRUEPEER_STATS: ");
	tp_text_put_quoted(&text, path->text, path->len);
	tp_text_put(&text, ": ");
	tp_text_put(&text, reason);
	tp_text_put(&text, "; nothing is counted");
	tp_log(TP_LOG_WARNING, &text);
}

static void tell(const struct tp_policy *policy, const char *const *variables,
		 const struct tp_config_mistake *mistake)
{
	tp_log_open(&policy->log);
	if (policy->state == TP_POLICY_BROKEN)
		tell_mistake(mistake);
	if (policy->state == TP_POLICY_OFF && tp_environ_asks())
		warn("TRUEPEER_TRUST names no trusted source: nothing is touched", NULL,
		     0, "");
	if (policy->state != TP_POLICY_OFF && policy->stats.len)
		open_stats(&policy->stats);
	warn_of_unknown(variables);
}

static const struct tp_policy *read_policy(void)
{
	const char *const *variables = tp_environ();
	const struct tp_policy *published = NULL;
	struct tp_config_mistake mistake;
	size_t size = sizeof(struct holder) + tp_config_memory(variables);
	struct holder *holder = mmap(NULL, size, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (holder == MAP_FAILED)
		return &no_memory;
	tp_config_read(variables, holder->lists, &holder->policy, &mistake);
	if (!atomic_compare_exchange_strong(&current, &published, &holder->policy)) {
		munmap(holder, size);
		return published;
	}
	tell(&holder->policy, variables, &mistake);
	return &holder->policy;
}

const struct tp_policy *tp_policy_get(void)
{
	const struct tp_policy *policy =
		atomic_load_explicit(&current, memory_order_acquire);
	if (policy)
		return policy;
	if (tp_is_inert())
		return &inert;
	int saved = errno, cancel_state;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	policy = read_policy();
	pthread_setcancelstate(cancel_state, NULL);
	errno = saved;
	return policy;
}

bool tp_rule_trusts(const struct tp_rule *rule, const struct tp_addr *sender)
{
	return tp_prefix_set_contains(&rule->trust, sender);
}

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

bool tp_rule_listens(const struct tp_rule *rule, const struct tp_addr *local)
{
	struct tp_addr plain = tp_addr_unmap(*local);
	for (size_t i = 0; i < rule->listen_count; i++)
		if (listen_matches(&rule->listen[i], &plain))
			return true;
	return !rule->listen_count;
}

bool tp_rule_listens_at(const struct tp_rule *rule, const char *path, size_t len)
{
	for (size_t i = 0; i < rule->listen_count; i++)
		if (len && rule->listen[i].path.len == len &&
		    !memcmp(rule->listen[i].path.text, path, len))
			return true;
	return !rule->listen_count;
}

bool tp_rule_listens_on(const struct tp_rule *rule, const struct tp_addr *bound)
{
	static const uint8_t any_ip[16];
	struct tp_addr plain = tp_addr_unmap(*bound);
	bool any = !memcmp(plain.ip, any_ip, sizeof any_ip);
	for (size_t i = 0; any && i < rule->listen_count; i++)
		if (plain.port >= rule->listen[i].first_port &&
		    plain.port <= rule->listen[i].last_port)
			return true;
	return tp_rule_listens(rule, bound);
}

bool tp_rule_defers(const struct tp_rule *rule)
{
	static const struct tp_addr first4 = {.family = AF_INET},
				    first6 = {.family = AF_INET6};
	const struct tp_prefix_set *trust = &rule->trust;
	if (rule->defer != TP_DEFER_AUTO)
		return rule->defer == TP_DEFER_ON;
	bool all = trust->count == 2 && !trust->prefixes[0].length &&
		   !trust->prefixes[1].length && tp_prefix_set_contains(trust, &first4) &&
		   tp_prefix_set_contains(trust, &first6);
	return !rule->header_optional && (rule->reject_untrusted || all);
}
