/* SPDX-License-Identifier: MIT */
/*
 * The rules file as the library reads it (ruleset.h): a real file, whose reads are cut,
 * interrupted and refused, and which changes meanwhile. Either all of its text is read,
 * and means what config.h makes of it, or the door is closed. Input: the variables, the
 * kind of file, how many moves, the moves, and the text. The linker puts read and fstat
 * here in place of libc's (-Wl,--wrap). ruleset.c is part of this, to forget what it
 * keeps.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "fuzz.h"
#include "real.h"
#include "ruleset.c"

#define MISSING "/nowhere/rules"
#define MOST_READS (4096 + 64) /* of an input: more is a spin */

enum kind { PLAIN, FOREIGN, WRITABLE, LARGE, DEVICE, UNKNOWN, KINDS };
enum move { WHOLE, ONE, SOME, INTERRUPT, FAIL, GROW, SHRINK, MOVES };

static struct {
	int fd; /* the file */
	char path[32];
	const uint8_t *moves;
	size_t moves_left, size;
	enum kind kind;
	bool armed, failed, changed;
	bool early; /* it is read when the program starts, not when it is needed */
	int reads, opened, closed;
} fake = {.fd = -1};

ssize_t __real_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size);
ssize_t __wrap_read(int fd, void *to, size_t size)
{
	enum move what = WHOLE;
	if (!fake.armed)
		return __real_read(fd, to, size);
	LAW(fake.reads++ < MOST_READS);
	if (fake.moves_left) {
		fake.moves_left--;
		what = (enum move)(*fake.moves % MOVES);
		if (what == SOME && size > *fake.moves)
			size = *fake.moves;
		fake.moves++;
	}
	if (what == ONE)
		size = 1;
	if (what == INTERRUPT || what == FAIL) {
		fake.failed |= what == FAIL;
		errno = what == FAIL ? EIO : EINTR;
		return -1;
	}
	if (what == GROW || what == SHRINK) {
		size_t now = what == GROW ? fake.size + 1 : fake.size / 2;
		fake.changed |= now != fake.size;
		LAW(!ftruncate(fake.fd, (off_t)now));
	}
	return __real_read(fd, to, size);
}

int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st)
{
	int result = __real_fstat(fd, st);
	if (!fake.armed)
		return result;
	fake.opened++;
	st->st_uid = fake.kind == FOREIGN ? 1 : 0;
	st->st_mode = fake.kind == DEVICE ? S_IFCHR | 0644 : S_IFREG | 0644;
	if (fake.kind == WRITABLE)
		st->st_mode |= 0020;
	if (fake.kind == LARGE)
		st->st_size = TP_RULES_FILE_MAX + 1;
	errno = EIO;
	return fake.kind == UNKNOWN ? -1 : result;
}

static int fake_close(int fd)
{
	fake.closed++;
	return close(fd);
}

const struct tp_real *tp_real(void)
{
	static const struct tp_real real = {.close = fake_close};
	return &real;
}

/* ---- what was read ---- */

/* All of it, as a number. */
struct reading {
	uint64_t digest;
	size_t mistakes;
};

static void add(struct reading *reading, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	for (size_t i = 0; i < len; i++)
		reading->digest = (reading->digest ^ at[i]) * 0x100000001b3;
}

static void add_number(struct reading *reading, uint64_t number)
{
	add(reading, &number, sizeof number);
}

static void add_mistake(void *context, const struct tp_mistake *mistake)
{
	struct tp_text text = {0};
	tp_mistake_put(&text, mistake);
	LAW(text.len);
	add(context, text.text, text.len);
	((struct reading *)context)->mistakes++;
}

static void add_path(struct reading *reading, const char *path, size_t len)
{
	add_number(reading, len);
	add(reading, path, len);
}

static void add_rule(struct reading *reading, const struct tp_rule *rule)
{
	const uint64_t numbers[] = {rule->line,
				    rule->listen_count,
				    rule->trust.count,
				    rule->trust.ipv4_count,
				    rule->trusts_unix,
				    rule->header_optional,
				    rule->reject_local,
				    rule->versions[1],
				    rule->versions[2],
				    rule->timeout_ms,
				    rule->limits.max,
				    rule->limits.mixed_family,
				    rule->chain,
				    rule->ipv6,
				    rule->tells_destination,
				    rule->untrusted,
				    rule->defer};
	add(reading, numbers, sizeof numbers);
	for (size_t i = 0; i < rule->listen_count; i++) {
		const struct tp_listen *listen = &rule->listen[i];
		add_path(reading, listen->path.text, listen->path.len);
		add_number(reading, listen->first_port);
		add_number(reading, listen->last_port);
		add_number(reading, listen->addr.family);
		add(reading, listen->addr.ip, sizeof listen->addr.ip);
		add_number(reading, listen->any_ip);
	}
	for (size_t i = 0; i < rule->trust.count; i++) {
		add_number(reading, rule->trust.prefixes[i].family);
		add_number(reading, rule->trust.prefixes[i].length);
		add(reading, rule->trust.prefixes[i].ip, 16);
	}
}

static void add_policy(struct reading *reading, const struct tp_policy *policy)
{
	add_number(reading, policy->state);
	add_number(reading, policy->log.target);
	add_number(reading, policy->log.level);
	add_path(reading, policy->log.path.text, policy->log.path.len);
	add_number(reading, policy->limited + 2 * policy->named);
	LAW((policy->state == TP_POLICY_BROKEN) == (reading->mistakes > 0));
	if (policy->state == TP_POLICY_BROKEN)
		return;
	add_number(reading, policy->has_unix + 2 * policy->rejects);
	add_number(reading, policy->max_pending);
	add_path(reading, policy->stats.text, policy->stats.len);
	add_number(reading, policy->rule_count);
	for (size_t i = 0; i < policy->rule_count; i++)
		add_rule(reading, &policy->rules[i]);
}

/* ---- the variables ---- */

struct setting {
	const char *variables[3]; /* in place of %: the file's path */
	bool fixed, roots;	  /* the file is the fixed one; and so has to be root's */
	bool read;		  /* it is read */
	bool wrong;		  /* whatever is in it */
	bool alone;		  /* it is named by the caller, not by the variables */
};

static const struct setting settings[] = {
	{{NULL}, true, true, true, false, false},
	{{"TRUEPEER_RULES=%"}, false, false, true, false, false},
	{{"TRUEPEER_RULES=%"}, true, true, true, false, false},
	{{"TRUEPEER_RULES=%", "TRUEPEER_TRUST=10.0.0.0/8"},
	 false,
	 false,
	 true,
	 false,
	 false},
	{{"TRUEPEER_RULES=%", "TRUEPEER_LOG=none"}, false, false, true, false, false},
	{{"TRUEPEER_TRUST=10.0.0.0/8"}, true, true, false, false, false},
	{{"TRUEPEER_HEADER=optional"}, true, true, true, true, false},
	{{"TRUEPEER_RULES=% x"}, false, false, true, true, false},
	{{"TRUEPEER_RULES=rules"}, true, true, false, true, false},
	{{"TRUEPEER_RULES=" MISSING}, true, true, false, true, false},
	{{NULL}, false, false, false, false, false},
	{{"TRUEPEER_RULES=%"}, false, false, true, false, true},
	{{"TRUEPEER_RULES=%"}, true, true, true, false, true},
};

#define SETTINGS (sizeof settings / sizeof *settings)

static void write_variables(const struct setting *setting, char texts[2][128],
			    const char **variables)
{
	for (size_t i = 0; (variables[i] = setting->variables[i]); i++) {
		const char *mark = strchr(setting->variables[i], '%');
		if (!mark)
			continue;
		snprintf(texts[i], sizeof texts[i], "%.*s%s%s",
			 (int)(mark - setting->variables[i]), setting->variables[i],
			 fake.path, mark + 1);
		variables[i] = texts[i];
	}
}

/* ---- the laws ---- */

/* As config.h alone reads it. */
static struct reading read_text(const char *const *variables,
				const struct tp_rules_file *file)
{
	struct reading reading = {0};
	struct tp_policy policy;
	struct tp_config config = {.variables = variables};
	if (file) {
		config.file = fake.path;
		config.text = file->text;
		config.len = file->len;
	}
	void *memory = malloc(tp_config_memory(&config));
	LAW(memory);
	tp_config_read(&config, memory, &policy,
		       (struct tp_mistake_sink){add_mistake, &reading});
	add_policy(&reading, &policy);
	free(memory);
	return reading;
}

static void check_file(const struct setting *setting, const struct tp_rules_file *file,
		       const char *text, size_t size)
{
	if (!file) {
		bool refused = setting->roots ? fake.kind != PLAIN : fake.kind >= LARGE;
		LAW(!setting->read || refused || fake.failed || fake.changed);
		return;
	}
	LAW(setting->read && fake.kind < (setting->roots ? FOREIGN : LARGE));
	LAW(!fake.failed && file->len == size);
	LAW(fake.changed || !memcmp(file->text, text, size));
	LAW(!strcmp(file->path, fake.path));
}

/* What the file was at the start counts, whatever becomes of it. */
static void keep_file(const char *const *variables, const char *fixed)
{
	LAW(tp_ruleset_keep_file(variables, fixed) || !fake.opened);
	LAW(!ftruncate(fake.fd, 0));
}

static void check(const struct setting *setting, const char *text, size_t size)
{
	char texts[2][128];
	const char *variables[3];
	struct reading reading = {0};
	const struct tp_mistake_sink sink = {add_mistake, &reading};
	write_variables(setting, texts, variables);
	const char *fixed = setting->fixed ? fake.path : MISSING;
	fake.armed = true;
	if (fake.early && !setting->alone)
		keep_file(variables, fixed);
	struct tp_ruleset *ruleset =
		setting->alone ? tp_ruleset_read_file(fake.path, fixed, sink)
			       : tp_ruleset_read(variables, NULL, fixed, sink);
	fake.armed = false;
	LAW(ruleset && fake.opened == fake.closed);
	add_policy(&reading, &ruleset->policy);
	check_file(setting, ruleset->file, text, size);
	const struct reading expected = read_text(variables, ruleset->file);
	if (ruleset->file || !setting->read)
		LAW(reading.digest == expected.digest || setting->wrong);
	else
		LAW(reading.mistakes == expected.mistakes + 1);
	LAW(reading.mistakes || !setting->wrong);
	tp_ruleset_free(ruleset);
	if (atomic_exchange(&kept_any, false))
		tp_rules_file_free(kept.file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || data[2] + 3u > size)
		return 0;
	if (fake.fd < 0) {
		fake.fd = memfd_create("rules", MFD_CLOEXEC);
		snprintf(fake.path, sizeof fake.path, "/proc/self/fd/%d", fake.fd);
	}
	fake.kind = (enum kind)(data[1] % KINDS);
	fake.early = data[1] / KINDS % 2;
	fake.moves_left = data[2];
	fake.moves = data + 3;
	fake.failed = fake.changed = false;
	fake.reads = fake.opened = fake.closed = 0;
	const char *text = (const char *)fake.moves + fake.moves_left;
	fake.size = size - 3 - fake.moves_left;
	LAW(!ftruncate(fake.fd, 0));
	LAW(pwrite(fake.fd, text, fake.size, 0) == (ssize_t)fake.size);
	check(&settings[data[0] % SETTINGS], text, fake.size);
	return 0;
}
