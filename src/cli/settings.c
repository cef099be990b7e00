/* SPDX-License-Identifier: MIT */
#include "settings.h"

#include "config.h"
#include "ruleset.h"

const char *tp_settings_variable(size_t i)
{
	return tp_config_variable(i);
}

struct listener {
	void (*tell)(void *context, const char *mistake);
	void *context;
};

static void tell_line(void *context, const struct tp_mistake *mistake)
{
	const struct listener *listener = context;
	struct tp_text text = {0};
	tp_mistake_put(&text, mistake);
	listener->tell(listener->context, text.text);
}

struct tp_settings *tp_settings_read(const char *const *variables,
				     void (*tell)(void *context, const char *mistake),
				     void *context)
{
	struct listener listener = {tell, context};
	return (struct tp_settings *)tp_ruleset_read(
		variables, NULL, TP_RULES_FILE,
		(struct tp_mistake_sink){tell_line, &listener});
}

static const struct tp_policy *policy_of(const struct tp_settings *settings)
{
	return &((const struct tp_ruleset *)settings)->policy;
}

void tp_settings_free(struct tp_settings *settings)
{
	if (settings)
		tp_ruleset_free((struct tp_ruleset *)settings);
}

bool tp_settings_trust_somebody(const struct tp_settings *settings)
{
	return policy_of(settings)->state == TP_POLICY_ON;
}

const char *tp_settings_leave_out(const struct tp_settings *settings,
				  const char *const *variables, const char *const *names)
{
	const struct tp_rules_file *file = ((const struct tp_ruleset *)settings)->file;
	struct tp_config config = {.variables = variables};
	if (!tp_config_names_program(&config, names))
		return "TRUEPEER_PROGRAMS";
	if (!file)
		return NULL;
	config.text = file->text;
	config.len = file->len;
	return tp_config_names_program(&config, names) ? NULL : file->path;
}

bool tp_settings_inherit(const struct tp_settings *settings)
{
	const struct tp_inherited_settings *inherited = &policy_of(settings)->inherited;
	return inherited->numbers || inherited->listen_fds;
}

bool tp_settings_trust_unix(const struct tp_settings *settings)
{
	return policy_of(settings)->has_unix;
}

static struct tp_match match(const struct tp_settings *settings,
			     const struct tp_addr *sender, const struct tp_addr *local)
{
	struct tp_match found;
	tp_policy_match(policy_of(settings), sender, local, &found);
	return found;
}

bool tp_settings_trust(const struct tp_settings *settings, const struct tp_addr *sender,
		       const struct tp_addr *local)
{
	return match(settings, sender, local).trusted;
}

bool tp_settings_require(const struct tp_settings *settings, const struct tp_addr *sender,
			 const struct tp_addr *local)
{
	struct tp_match found = match(settings, sender, local);
	return found.trusted && !found.rule->header_optional;
}

bool tp_settings_listen(const struct tp_settings *settings, const struct tp_addr *bound)
{
	return tp_policy_listens_on(policy_of(settings), bound);
}
