/* SPDX-License-Identifier: MIT */
/* The settings (config.h). Input: variables without their "TRUEPEER_", a line each. */
#include <stdbool.h>
#include <string.h>

#include "config.h"
#include "fuzz.h"
#include "header.h"

#define MOST 32
#define PREFIX "TRUEPEER_"

/* Each in memory of its own. */
static size_t split(const uint8_t *data, size_t size, char **variables)
{
	size_t count = 0;
	while (size && count < MOST) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		char *variable = malloc(sizeof PREFIX + len);
		LAW(variable);
		memcpy(variable, PREFIX, sizeof PREFIX - 1);
		memcpy(variable + sizeof PREFIX - 1, data, len);
		variable[sizeof PREFIX - 1 + len] = '\0';
		variables[count++] = variable;
		data += len + !!end;
		size -= len + !!end;
	}
	variables[count] = NULL;
	return count;
}

static bool is_one_of(const struct tp_config_mistake *mistake, char *const *variables)
{
	for (; *variables; variables++)
		if (mistake->word >= *variables &&
		    mistake->word + mistake->word_len <= *variables + strlen(*variables))
			return tp_config_knows(*variables) &&
			       !strncmp(*variables, mistake->variable,
					strlen(mistake->variable));
	return false;
}

static void check_mistake(const struct tp_policy *policy,
			  const struct tp_config_mistake *mistake, char *const *variables)
{
	LAW(policy->state == TP_POLICY_BROKEN);
	LAW(mistake->variable && !strncmp(mistake->variable, PREFIX, strlen(PREFIX)));
	LAW(mistake->expected && mistake->expected[0]);
	LAW(mistake->word_len && is_one_of(mistake, variables));
}

static void check_policy(const struct tp_policy *policy)
{
	const struct tp_rule *rule = &policy->rule;
	bool trusts = rule->trust.count || rule->trusts_unix;
	LAW(policy->state == (trusts ? TP_POLICY_ON : TP_POLICY_OFF));
	LAW(rule->timeout_ms >= 1 && rule->timeout_ms <= 3600000);
	LAW(rule->max_header >= TP_HEADER_V2_MIN && rule->max_header <= TP_HEADER_V2_MAX);
	LAW(rule->max_pending <= 65536);
	LAW(rule->versions[1] || rule->versions[2]);
	LAW(rule->ipv6 <= TP_IPV6_REJECT && rule->defer <= TP_DEFER_OFF);
	LAW(policy->log.level <= TP_LOG_INFO && policy->log.target <= TP_LOG_NONE);
	if (policy->log.target == TP_LOG_FILE)
		LAW(policy->log.path.len > 1 && policy->log.path.text[0] == '/');
	for (size_t i = 0; i < rule->listen_count; i++)
		LAW(rule->listen[i].path.len ? rule->listen[i].path.text[0] == '/'
					     : rule->listen[i].first_port &&
						       rule->listen[i].first_port <=
							       rule->listen[i].last_port);
	for (size_t i = 0; i < rule->trust.count; i++) {
		struct tp_addr addr = {.family = rule->trust.prefixes[i].family};
		memcpy(addr.ip, rule->trust.prefixes[i].ip, sizeof addr.ip);
		LAW(tp_prefix_set_contains(&rule->trust, &addr));
	}
}

/* A program that is listed under one of two names is listed. */
static void check_programs(const char *const *variables)
{
	static const char *const one[] = {"a", NULL}, *const other[] = {"b", NULL},
				 *const both[] = {"a", "b", NULL};
	LAW(tp_config_names_program(variables, both) ==
	    (tp_config_names_program(variables, one) ||
	     tp_config_names_program(variables, other)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *variables[MOST + 1];
	struct tp_policy policy;
	struct tp_config_mistake mistake = {0};
	size_t count = split(data, size, variables);
	const char *const *given = (const char *const *)variables;
	size_t bytes = tp_config_memory(given);
	void *memory = malloc(bytes ? bytes : 1);
	LAW(memory);
	memset(&policy, 0x5a, sizeof policy);
	if (tp_config_read(given, memory, &policy, &mistake))
		check_policy(&policy);
	else
		check_mistake(&policy, &mistake, variables);
	check_programs(given);
	free(memory);
	while (count)
		free(variables[--count]);
	return 0;
}
