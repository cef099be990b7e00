/* SPDX-License-Identifier: MIT */
#include "settings.h"

#include <stdlib.h>

#include "config.h"
#include "text.h"

struct tp_settings {
	struct tp_policy policy;
	max_align_t lists[];
};

const char *tp_settings_variable(size_t i)
{
	return tp_config_variable(i);
}

static void put_mistake(struct tp_text *text, const struct tp_config_mistake *mistake)
{
	tp_text_put(text, mistake->variable);
	tp_text_put(text, ": ");
	tp_text_put_quoted(text, mistake->word, mistake->word_len);
	if (mistake->reason) {
		tp_text_put(text, ": ");
		tp_text_put(text, mistake->reason);
	}
	tp_text_put(text, "; expected ");
	tp_text_put(text, mistake->expected);
}

struct tp_settings *tp_settings_read(const char *const *variables,
				     void (*tell)(void *context, const char *mistake),
				     void *context)
{
	struct tp_config_mistake mistake;
	struct tp_settings *settings =
		malloc(sizeof *settings + tp_config_memory(variables));
	if (!settings)
		return NULL;
	if (!tp_config_read(variables, settings->lists, &settings->policy, &mistake)) {
		struct tp_text text = {0};
		put_mistake(&text, &mistake);
		tell(context, text.text);
	}
	return settings;
}

void tp_settings_free(struct tp_settings *settings)
{
	free(settings);
}

bool tp_settings_trust_somebody(const struct tp_settings *settings)
{
	return settings->policy.state == TP_POLICY_ON;
}

bool tp_settings_name_program(const char *const *variables, const char *const *names)
{
	return tp_config_names_program(variables, names);
}

bool tp_settings_inherit(const struct tp_settings *settings)
{
	const struct tp_inherited_settings *inherited = &settings->policy.inherited;
	return inherited->numbers || inherited->listen_fds;
}

bool tp_settings_trust_unix(const struct tp_settings *settings)
{
	return settings->policy.rule.trusts_unix;
}

bool tp_settings_trust(const struct tp_settings *settings, const struct tp_addr *sender,
		       const struct tp_addr *local)
{
	return tp_settings_trust_somebody(settings) &&
	       tp_rule_listens(&settings->policy.rule, local) &&
	       tp_rule_trusts(&settings->policy.rule, sender);
}

bool tp_settings_require(const struct tp_settings *settings, const struct tp_addr *sender,
			 const struct tp_addr *local)
{
	return tp_settings_trust(settings, sender, local) &&
	       !settings->policy.rule.header_optional;
}

bool tp_settings_listen(const struct tp_settings *settings, const struct tp_addr *bound)
{
	return tp_rule_listens_on(&settings->policy.rule, bound);
}
