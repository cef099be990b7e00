/* SPDX-License-Identifier: MIT */
#include "ruleset.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/* What became of the rules file that the variables ask for. */
struct found {
	struct tp_rules_file *file;
	struct tp_mistake mistake; /* its reason is why there is no file, if one is due */
	bool exists;
};

/* The fixed file is everybody's: it has to be root's. */
static struct found read_path(const char *path, size_t len, const char *fixed)
{
	struct found found = {.mistake = {.word = path, .word_len = len}};
	bool roots = len == strlen(fixed) && !memcmp(path, fixed, len);
	found.file = tp_rules_file_read(path, len, roots, &found.mistake.reason);
	found.exists = found.file || !(errno == ENOENT || errno == ENOTDIR);
	return found;
}

static struct found read_file(const char *const *variables, const char *fixed)
{
	size_t len = 0;
	const char *path = tp_config_rules_file(variables, fixed, &len);
	bool named = path && path != fixed;
	if (!path || *path != '/')
		return (struct found){0};
	struct found found = read_path(path, len, fixed);
	if (!found.exists && !named)
		found.mistake.reason = NULL;
	if (!found.file && named)
		found.mistake.setting = "TRUEPEER_RULES";
	return found;
}

static struct found kept; /* as it was found at the start, when kept_any is set */
static atomic_bool kept_any;

bool tp_ruleset_keep_file(const char *const *variables, const char *fixed)
{
	struct found found = read_file(variables, fixed);
	if (found.exists) {
		kept = found;
		atomic_store(&kept_any, true);
	}
	return found.exists;
}

static void free_file(struct tp_rules_file *file)
{
	if (!atomic_load(&kept_any) || file != kept.file)
		tp_rules_file_free(file);
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

static struct tp_config config_of(const char *const *variables,
				  const struct tp_rules_file *file)
{
	struct tp_config config = {.variables = variables};
	if (file) {
		config.file = file->path;
		config.text = file->text;
		config.len = file->len;
	}
	return config;
}

struct tp_config tp_ruleset_kept(const char *const *variables)
{
	return config_of(variables, kept.file);
}

static struct tp_ruleset *read_all(const char *const *variables, const char *const *names,
				   struct found found, struct tp_mistake_sink sink)
{
	struct tp_config config = config_of(variables, found.file);
	config.names = names;
	struct tp_ruleset *ruleset = map(tp_config_memory(&config));
	if (!ruleset) {
		free_file(found.file);
		return NULL;
	}
	ruleset->file = found.file;
	tp_config_read(&config, ruleset->lists, &ruleset->policy, sink);
	if (found.mistake.reason) {
		ruleset->policy.state = TP_POLICY_BROKEN;
		ruleset->policy.has_unix = true; /* for all we know */
		sink.tell(sink.context, &found.mistake);
	}
	return ruleset;
}

struct tp_ruleset *tp_ruleset_read(const char *const *variables, const char *const *names,
				   const char *fixed, struct tp_mistake_sink sink)
{
	return read_all(variables, names,
			atomic_load(&kept_any) ? kept : read_file(variables, fixed),
			sink);
}

struct tp_ruleset *tp_ruleset_read_file(const char *path, const char *fixed,
					struct tp_mistake_sink sink)
{
	/* Somebody asks for it: it has to hold a rule. */
	static const char *const named[] = {"TRUEPEER_RULES=/", NULL};
	return read_all(named, NULL, read_path(path, strlen(path), fixed), sink);
}

void tp_ruleset_free(struct tp_ruleset *ruleset)
{
	free_file(ruleset->file);
	munmap(ruleset, ruleset->mapped);
}
