/* SPDX-License-Identifier: MIT */
#include "policy.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "config.h"
#include "environ.h"
#include "inert.h"
#include "log.h"
#include "program.h"
#include "ruleset.h"
#include "stats.h"

#define TOLD 20 /* mistakes, each a line */

static const struct tp_policy no_memory = {.state = TP_POLICY_BROKEN, .has_unix = true};
static const struct tp_policy inert = {.state = TP_POLICY_OFF};
static _Atomic(const struct tp_policy *) current;

/* Kept until the log is open: where it goes is one of the settings. */
struct collection {
	struct tp_mistake mistakes[TOLD];
	size_t count; /* with those that found no place */
};

static void collect(void *context, const struct tp_mistake *mistake)
{
	struct collection *collection = context;
	if (collection->count < TOLD)
		collection->mistakes[collection->count] = *mistake;
	collection->count++;
}

static void tell_mistakes(const struct collection *collection)
{
	for (size_t i = 0; i < collection->count && i < TOLD; i++) {
		struct tp_text text = {0};
		tp_mistake_put(&text, &collection->mistakes[i]);
		tp_log_mistake(&text);
	}
	if (collection->count > TOLD) {
		struct tp_text text = {0};
		tp_text_put_number(&text, collection->count - TOLD);
		tp_text_put(&text, " more mistakes; truepeer check shows them all");
		tp_log_mistake(&text);
	}
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

static void tell(const struct tp_ruleset *ruleset, const char *const *variables,
		 const struct collection *collection)
{
	tp_log_open(&ruleset->policy.log);
	tell_mistakes(collection);
	if (ruleset->policy.state == TP_POLICY_OFF && tp_environ_asks())
		warn(ruleset->file ? ruleset->file->path : "TRUEPEER_TRUST", NULL, 0,
		     " names no trusted source: nothing is touched");
	if (ruleset->policy.state != TP_POLICY_OFF && ruleset->policy.stats.len)
		open_stats(&ruleset->policy.stats);
	warn_of_unknown(variables);
}

static const struct tp_policy *read_policy(void)
{
	const char *const *variables = tp_environ();
	const struct tp_policy *published = NULL;
	struct collection collection = {.count = 0};
	struct tp_program program;
	tp_program_identify(&program);
	struct tp_ruleset *ruleset =
		tp_ruleset_read(variables, program.names, TP_RULES_FILE,
				(struct tp_mistake_sink){collect, &collection});
	if (!ruleset)
		return &no_memory;
	bool left_out = ruleset->policy.limited && !ruleset->policy.named;
	if (left_out)
		ruleset->policy.state = TP_POLICY_OFF;
	if (!atomic_compare_exchange_strong(&current, &published, &ruleset->policy)) {
		tp_ruleset_free(ruleset);
		return published;
	}
	if (!left_out)
		tell(ruleset, variables, &collection);
	return &ruleset->policy;
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
