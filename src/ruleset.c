/* SPDX-License-Identifier: MIT */
#include "ruleset.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "config.h"

/*
 * The rules file there is, or NULL; then *mistake says what is wrong with it, unless
 * nobody asked for one. The fixed file is everybody's: it has to be root's.
 */
static struct tp_rules_file *read_file(const char *const *variables, const char *fixed,
				       struct tp_mistake *mistake)
{
	size_t len = 0;
	const char *path = tp_config_rules_file(variables, fixed, &len);
	bool named = path && path != fixed;
	if (!path || *path != '/')
		return NULL;
	bool roots = len == strlen(fixed) && !memcmp(path, fixed, len);
	struct tp_rules_file *file =
		tp_rules_file_read(path, len, roots, &mistake->reason);
	if (!file && !named && (errno == ENOENT || errno == ENOTDIR))
		mistake->reason = NULL;
	if (!file && named)
		mistake->setting = "TRUEPEER_RULES";
	mistake->word = path;
	mistake->word_len = len;
	return file;
}

static struct tp_ruleset *map(size_t lists)
{
	size_t mapped = sizeof(struct tp_ruleset) + lists;
	struct tp_ruleset *ruleset = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ruleset == MAP_FAILED)
		return NULL;
	ruleset->mapped = mapped;
	return ruleset;
}

struct tp_ruleset *tp_ruleset_read(const char *const *variables, const char *const *names,
				   const char *fixed, struct tp_mistake_sink sink)
{
	struct tp_mistake mistake = {0};
	struct tp_rules_file *file = read_file(variables, fixed, &mistake);
	struct tp_config config = {.variables = variables, .names = names};
	if (file) {
		config.file = file->path;
		config.text = file->text;
		config.len = file->len;
	}
	struct tp_ruleset *ruleset = map(tp_config_memory(&config));
	if (!ruleset) {
		tp_rules_file_free(file);
		return NULL;
	}
	ruleset->file = file;
	tp_config_read(&config, ruleset->lists, &ruleset->policy, sink);
	if (mistake.reason) {
		ruleset->policy.state = TP_POLICY_BROKEN;
		sink.tell(sink.context, &mistake);
	}
	return ruleset;
}

void tp_ruleset_free(struct tp_ruleset *ruleset)
{
	tp_rules_file_free(ruleset->file);
	munmap(ruleset, ruleset->mapped);
}
