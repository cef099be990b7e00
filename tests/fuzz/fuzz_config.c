/* SPDX-License-Identifier: MIT */
/*
 * The settings (config.h). Input: variables without their "TRUEPEER_", a line each; the
 * same is read as a rules file, too.
 */
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

struct reading {
	struct tp_config config;
	size_t mistakes;
};

static bool lies_in(const struct tp_mistake *mistake, const char *text, size_t len)
{
	return mistake->word >= text && mistake->word + mistake->word_len <= text + len;
}

static bool is_one_of(const struct tp_mistake *mistake, const char *const *variables)
{
	for (; *variables; variables++)
		if (lies_in(mistake, *variables, strlen(*variables)))
			return tp_config_knows(*variables) &&
			       !strncmp(*variables, mistake->setting,
					strlen(mistake->setting));
	return false;
}

static void check_place(const struct tp_config *config, const struct tp_mistake *mistake)
{
	if (!mistake->file) {
		LAW(!mistake->line);
		LAW(mistake->word_len && is_one_of(mistake, config->variables));
	} else if (mistake->word) {
		LAW(lies_in(mistake, config->text, config->len));
		LAW(mistake->line == line_of(config->text, mistake->word));
	} else {
		LAW(mistake->line <= line_of(config->text, config->text + config->len));
	}
}

static void check_mistake(void *context, const struct tp_mistake *mistake)
{
	struct reading *reading = context;
	const struct tp_config *config = &reading->config;
	struct tp_text text = {0};
	reading->mistakes++;
	LAW(mistake->reason || mistake->expected);
	check_place(config, mistake);
	tp_mistake_put(&text, mistake);
	LAW(text.len);
}

static void check_rule(const struct tp_rule *rule)
{
	LAW(rule->timeout_ms >= 1 && rule->timeout_ms <= 3600000);
	LAW(rule->limits.max >= TP_HEADER_V2_MIN && rule->limits.max <= TP_HEADER_V2_MAX);
	LAW(rule->versions[1] || rule->versions[2]);
	LAW(rule->ipv6 <= TP_IPV6_REJECT && rule->defer <= TP_DEFER_OFF);
	LAW(rule->trust.count || rule->trusts_unix || rule->untrusted);
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

static void check_policy(const struct tp_policy *policy)
{
	LAW(policy->state == (policy->rule_count ? TP_POLICY_ON : TP_POLICY_OFF));
	LAW(policy->max_pending <= 65536);
	LAW(policy->log.level <= TP_LOG_INFO && policy->log.target <= TP_LOG_NONE);
	if (policy->log.target == TP_LOG_FILE)
		LAW(policy->log.path.len > 1 && policy->log.path.text[0] == '/');
	for (size_t i = 0; i < policy->rule_count; i++)
		check_rule(&policy->rules[i]);
}

/* What can be asked for alone is what is read of all. */
static void check_alone(const struct tp_config *config, const struct tp_policy *policy)
{
	static const char *const nobody[] = {NULL};
	const struct tp_path stats = tp_config_stats(config);
	LAW(stats.text == policy->stats.text && stats.len == policy->stats.len);
	LAW(tp_config_names_program(config, nobody) == !policy->limited);
}

static void read_config(struct tp_config config)
{
	struct reading reading = {.config = config};
	struct tp_policy policy;
	void *memory = malloc(tp_config_memory(&config));
	LAW(memory);
	memset(&policy, 0x5a, sizeof policy);
	tp_config_read(&config, memory, &policy,
		       (struct tp_mistake_sink){check_mistake, &reading});
	LAW((policy.state == TP_POLICY_BROKEN) == (reading.mistakes > 0));
	if (!reading.mistakes) {
		check_policy(&policy);
		check_alone(&config, &policy);
	}
	free(memory);
}

/* A program that is listed under one of two names is listed. */
static void check_programs(const struct tp_config *config)
{
	static const char *const one[] = {"a", NULL}, *const other[] = {"b", NULL},
				 *const both[] = {"a", "b", NULL};
	LAW(tp_config_names_program(config, both) ==
	    (tp_config_names_program(config, one) ||
	     tp_config_names_program(config, other)));
}

static void check_files(const char *const *variables)
{
	size_t len = 0;
	const char *rules = tp_config_rules_file(variables, "/fixed", &len);
	LAW(!rules || len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *variables[MOST + 1];
	static const char *const none[] = {NULL};
	size_t count = split(data, size, variables);
	const char *const *given = (const char *const *)variables;
	const char *text = (const char *)data;
	read_config((struct tp_config){.variables = given});
	read_config((struct tp_config){none, "/rules", text, size, NULL});
	read_config((struct tp_config){given, "/rules", text, size, NULL});
	check_programs(&(struct tp_config){given, "/rules", text, size, NULL});
	check_files(given);
	while (count)
		free(variables[--count]);
	return 0;
}
