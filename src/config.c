/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <string.h>

#include "setting.h"

/* A text that is read word by word. */
struct scan {
	const char *at, *end;
	bool in_file;  /* with comments and quotes */
	bool unclosed; /* quotes that do not end where a word ends */
};

/* What the functions below share; the place is that of the word being read. */
struct reading {
	const struct tp_config *config;
	struct tp_policy *policy;
	struct tp_policy overruled; /* what the file says and a variable says better */
	struct tp_draft draft;
	struct tp_mistake_sink sink;
	size_t mistakes;
	size_t line;	       /* 0: in the variables */
	bool in_list;	       /* the word may as well begin another setting */
	uint32_t process_seen; /* settings of the process, by their place in the table */
};

static bool is_separator(char c)
{
	return c == ' ' || c == ',' || c == '\t' || c == '\n' || c == '\r';
}

static size_t until_separator(const char *at, const char *end)
{
	const char *start = at;
	while (at < end && !is_separator(*at))
		at++;
	return (size_t)(at - start);
}

/* A word in quotes of either kind: all between them, whatever it is. */
static struct tp_word quoted_word(struct scan *scan)
{
	const char *start = scan->at + 1;
	const char *close = memchr(start, *scan->at, (size_t)(scan->end - start));
	struct tp_word word = {start, close ? (size_t)(close - start) : 0};
	scan->at = close ? close + 1 : scan->end;
	scan->unclosed = !close || until_separator(scan->at, scan->end);
	if (scan->unclosed) {
		scan->at += until_separator(scan->at, scan->end);
		word = (struct tp_word){start - 1, (size_t)(scan->at - start + 1)};
	}
	return word;
}

/* False at the end. */
static bool next_word(struct scan *scan, struct tp_word *word)
{
	scan->unclosed = false;
	while (scan->at < scan->end && is_separator(*scan->at))
		scan->at++;
	if (scan->at == scan->end || (scan->in_file && *scan->at == '#'))
		return false;
	if (scan->in_file && (*scan->at == '"' || *scan->at == '\'')) {
		*word = quoted_word(scan);
		return true;
	}
	*word = (struct tp_word){scan->at, until_separator(scan->at, scan->end)};
	scan->at += word->len;
	return true;
}

/* The line of the file at byte *at, which moves on to the next; false at the end. */
static bool next_line(const struct tp_config *config, size_t *at, struct scan *line)
{
	if (*at >= config->len)
		return false;
	const char *start = config->text + *at, *end = config->text + config->len;
	const char *newline = memchr(start, '\n', (size_t)(end - start));
	*line = (struct scan){start, newline ? newline : end, .in_file = true};
	*at += (size_t)(line->end - start) + 1;
	return true;
}

/* reason and expected as in tp_mistake; an empty reason is none. */
static void tell(struct reading *reading, const struct tp_setting *setting,
		 struct tp_word word, const char *reason, const char *expected)
{
	struct tp_mistake mistake = {
		.file = reading->line ? reading->config->file : NULL,
		.line = reading->line,
		.word = word.text,
		.word_len = word.len,
		.reason = reason && *reason ? reason : NULL,
		.expected = expected,
		.or_key = reading->in_list,
	};
	if (setting)
		mistake.setting = reading->line ? setting->key : setting->variable;
	reading->mistakes++;
	reading->sink.tell(reading->sink.context, &mistake);
}

static void take_word(struct reading *reading, const struct tp_setting *setting,
		      struct tp_word word)
{
	const char *reason = setting->take(&reading->draft, word);
	if (reason)
		tell(reading, setting, word, reason, setting->expected);
}

/* ---- the variables ---- */

/* The value, when the variable has this name. */
static const char *value_of(const char *variable, const char *name)
{
	size_t len = strlen(name);
	return !strncmp(variable, name, len) && variable[len] == '=' ? variable + len + 1
								     : NULL;
}

static struct scan scan_variable(const char *const *variables, const char *name)
{
	const char *value = NULL;
	for (; *variables && !value; variables++)
		value = value_of(*variables, name);
	return (struct scan){.at = value, .end = value ? value + strlen(value) : NULL};
}

/* Whether the variable is set, and not empty. */
static bool is_set(const char *const *variables, const struct tp_setting *setting,
		   struct tp_word *first)
{
	struct scan scan = scan_variable(variables, setting->variable);
	return next_word(&scan, first);
}

/* A variable that makes a rule, that is set; NULL: none. */
static const struct tp_setting *find_rule_variable(const char *const *variables,
						   struct tp_word *first)
{
	for (size_t i = 0; i < tp_setting_count; i++)
		if (!tp_setting_table[i].process &&
		    is_set(variables, &tp_setting_table[i], first))
			return &tp_setting_table[i];
	return NULL;
}

static void read_variable(struct reading *reading, const struct tp_setting *setting)
{
	struct scan scan = scan_variable(reading->config->variables, setting->variable);
	struct tp_word word;
	for (size_t words = 0; next_word(&scan, &word); words++) {
		if (words && !setting->list) {
			tell(reading, setting, word, "one word too many",
			     setting->expected);
			break;
		}
		take_word(reading, setting, word);
	}
}

static void read_variables(struct reading *reading, bool process)
{
	for (size_t i = 0; i < tp_setting_count; i++)
		if (tp_setting_table[i].process == process)
			read_variable(reading, &tp_setting_table[i]);
}

const char *tp_config_rules_file(const char *const *variables, const char *fixed,
				 size_t *len)
{
	struct scan scan = scan_variable(variables, "TRUEPEER_RULES");
	struct tp_word word;
	if (!next_word(&scan, &word)) {
		scan = scan_variable(variables, "TRUEPEER_TRUST");
		if (next_word(&scan, &word))
			return NULL;
		word = (struct tp_word){fixed, strlen(fixed)};
	}
	*len = word.len;
	return word.text;
}

bool tp_config_knows(const char *variable)
{
	for (size_t i = 0; i < tp_setting_count; i++)
		if (value_of(variable, tp_setting_table[i].variable))
			return true;
	return false;
}

/* The value of a setting of the process: the variable's, if it is set, or the file's. */
static struct scan scan_setting(const struct tp_config *config,
				const struct tp_setting *setting)
{
	struct scan scan = scan_variable(config->variables, setting->variable);
	size_t at = 0, len = strlen(setting->key);
	struct tp_word word;
	if (is_set(config->variables, setting, &word))
		return scan;
	while (next_line(config, &at, &scan))
		if (next_word(&scan, &word) && word.len == len &&
		    !memcmp(word.text, setting->key, len))
			return scan;
	return (struct scan){0};
}

bool tp_config_names_program(const struct tp_config *config, const char *const *names)
{
	static const struct tp_word key = {"programs", 8};
	struct scan scan = scan_setting(config, tp_setting_find(key));
	struct tp_word word;
	bool any = false;
	for (; next_word(&scan, &word); any = true) {
		if (memchr(word.text, '/', word.len))
			return true;
		for (size_t i = 0; names[i]; i++)
			if (strlen(names[i]) == word.len &&
			    !memcmp(names[i], word.text, word.len))
				return true;
	}
	return !any;
}

struct tp_path tp_config_stats(const struct tp_config *config)
{
	static const struct tp_word key = {"stats", 5};
	const struct tp_setting *setting = tp_setting_find(key);
	struct scan scan = scan_setting(config, setting);
	struct tp_policy policy = {.stats = {0}};
	struct tp_draft draft = {.policy = &policy};
	struct tp_word word, more;
	if (next_word(&scan, &word) && !next_word(&scan, &more))
		setting->take(&draft, word);
	return policy.stats;
}

const char *tp_config_variable(size_t i)
{
	return i < tp_setting_count ? tp_setting_table[i].variable : NULL;
}

/* ---- rules ---- */

static void begin_rule(struct reading *reading)
{
	struct tp_policy *policy = reading->policy;
	reading->draft.rule = &policy->rules[policy->rule_count];
	*reading->draft.rule = tp_setting_default_rule();
	reading->draft.rule->line = reading->line;
}

static void end_rule(struct reading *reading)
{
	struct tp_policy *policy = reading->policy;
	struct tp_rule *rule = reading->draft.rule;
	tp_prefix_set_finish(&rule->trust);
	policy->rejects = policy->rejects || rule->untrusted == TP_UNTRUSTED_REJECT;
	policy->has_unix = policy->has_unix || rule->trusts_unix;
	policy->rule_count++;
	reading->draft.rule = NULL;
}

/*
 * A variable that is a mistake without TRUEPEER_TRUST; NULL: none. Beside a file each may
 * be meant for the file's rules. Alone, one that rejects must not let everybody in.
 */
static const struct tp_setting *find_in_vain(const struct reading *reading,
					     struct tp_word *word)
{
	static const struct tp_word untrusted = {"untrusted", 9};
	const char *const *variables = reading->config->variables;
	const struct tp_setting *setting = tp_setting_find(untrusted);
	if (reading->config->file)
		return find_rule_variable(variables, word);
	return reading->draft.rule->untrusted == TP_UNTRUSTED_REJECT &&
			       is_set(variables, setting, word)
		       ? setting
		       : NULL;
}

/* The rule that the variables make: none without TRUEPEER_TRUST. */
static void read_variable_rule(struct reading *reading)
{
	static const char expected[] = "TRUEPEER_TRUST beside it, or a rule of a file";
	const struct tp_setting *setting;
	struct tp_word word;
	const size_t mistakes = reading->mistakes;
	begin_rule(reading);
	read_variables(reading, false);
	if (reading->draft.rule->trust.count || reading->draft.rule->trusts_unix)
		end_rule(reading);
	else if (reading->mistakes == mistakes &&
		 (setting = find_in_vain(reading, &word)))
		tell(reading, setting, word,
		     "no rule without a trusted source in TRUEPEER_TRUST", expected);
}

/* ---- the rules file ---- */

/* What is known of the line being read. */
struct line {
	const struct tp_setting *setting; /* whose value is being read; NULL: nobody's */
	size_t words;			  /* that it has had */
	bool lost;			  /* the words up to the next key mean nothing */
	bool process;			  /* it sets something of the whole process */
	uint32_t seen;			  /* settings, by their place in the table */
};

static uint32_t bit_of(const struct tp_setting *setting)
{
	return (uint32_t)1 << (setting - tp_setting_table);
}

/* Settings of the process stand alone, so that none looks like a part of a rule. */
static const char *find_misplaced(const struct reading *reading, const struct line *line,
				  const struct tp_setting *setting)
{
	if ((line->seen | reading->process_seen) & bit_of(setting))
		return "it is there twice";
	if (line->seen && (setting->process || line->process))
		return "log, max-pending, stats and programs have lines of their own";
	return NULL;
}

static void begin_setting(struct reading *reading, struct line *line, struct tp_word key,
			  const struct tp_setting *setting)
{
	const char *reason = find_misplaced(reading, line, setting);
	struct tp_word value;
	line->seen |= bit_of(setting);
	line->words = 0;
	line->lost = reason;
	line->setting = reason ? NULL : setting;
	if (reason) {
		tell(reading, NULL, key, reason, NULL);
		return;
	}
	if (!setting->process && !reading->draft.rule)
		begin_rule(reading);
	line->process = setting->process;
	if (!setting->process)
		return;
	reading->process_seen |= bit_of(setting);
	if (is_set(reading->config->variables, setting, &value))
		reading->draft.policy = &reading->overruled;
}

static void read_file_word(struct reading *reading, struct line *line,
			   struct tp_word word)
{
	const struct tp_setting *key = tp_setting_find(word);
	bool due = line->setting && !line->words;
	if (key && !due) {
		begin_setting(reading, line, word, key);
	} else if (due || (line->setting && line->setting->list && !line->lost)) {
		reading->in_list = !due && !line->process;
		take_word(reading, line->setting, word);
		reading->in_list = false;
		line->words++;
	} else if (!line->lost) {
		line->lost = true;
		tell(reading, NULL, word, "there is no such setting", tp_setting_keys);
	}
}

static void end_line(struct reading *reading, const struct line *line, bool right)
{
	static const struct tp_word nothing, from = {"from", 4};
	if (line->setting && !line->words)
		tell(reading, line->setting, nothing, "nothing follows",
		     line->setting->expected);
	else if (reading->draft.rule && right && !reading->draft.rule->untrusted &&
		 !(line->seen & bit_of(tp_setting_find(from))))
		tell(reading, NULL, nothing, "a rule without a source",
		     "from, or untrusted for everybody who is not in another rule");
	if (reading->draft.rule)
		end_rule(reading);
}

/* Where lines end in a CR alone the file is one line, and a comment perhaps. */
static const char *find_lone_cr(const struct scan *scan)
{
	const char *cr = memchr(scan->at, '\r', (size_t)(scan->end - scan->at));
	return cr && cr + 1 < scan->end ? cr : NULL;
}

static void read_line(struct reading *reading, struct scan scan)
{
	const size_t mistakes = reading->mistakes;
	struct line line = {0};
	struct tp_word word = {find_lone_cr(&scan), 1};
	if (word.text) {
		tell(reading, NULL, word, "a carriage return within a line", NULL);
		return;
	}
	while (next_word(&scan, &word)) {
		if (scan.unclosed) {
			line.words++;
			tell(reading, line.setting, word,
			     "the quotes do not end where a word ends", NULL);
		} else {
			read_file_word(reading, &line, word);
		}
	}
	end_line(reading, &line, reading->mistakes == mistakes);
	reading->draft.policy = reading->policy;
}

static void read_file(struct reading *reading)
{
	struct scan line;
	size_t at = 0;
	while (next_line(reading->config, &at, &line)) {
		reading->line++;
		read_line(reading, line);
	}
}

/* ---- all of it ---- */

static size_t count_lines(const struct tp_config *config)
{
	size_t lines = 1;
	for (size_t i = 0; i < config->len; i++)
		lines += config->text[i] == '\n';
	return lines;
}

/* Of the file's rules and the one that the variables make. */
static size_t rules_memory(const struct tp_config *config)
{
	return (count_lines(config) + 1) * sizeof(struct tp_rule);
}

static size_t lists_memory(const struct tp_config *config, const char *variable)
{
	struct scan scan = scan_variable(config->variables, variable);
	return TP_DRAFT_LISTS((size_t)(scan.end - scan.at));
}

size_t tp_config_memory(const struct tp_config *config)
{
	size_t lists = TP_DRAFT_LISTS(config->len) +
		       lists_memory(config, "TRUEPEER_TRUST") +
		       lists_memory(config, "TRUEPEER_LISTEN");
	return rules_memory(config) + lists +
	       TP_SOURCES_MEMORY(lists / sizeof(struct tp_prefix));
}

/* A file that somebody asked for has rules; the one at the fixed place may be empty. */
static void tell_if_empty(struct reading *reading)
{
	struct scan named = scan_variable(reading->config->variables, "TRUEPEER_RULES");
	struct tp_word word;
	if (!reading->config->file || reading->policy->rule_count || reading->mistakes ||
	    !next_word(&named, &word))
		return;
	struct tp_mistake mistake = {.file = reading->config->file,
				     .reason = "there is no rule in it"};
	reading->mistakes++;
	reading->sink.tell(reading->sink.context, &mistake);
}

/* In any case of letters, whatever the program's locale takes for one. */
static bool mentions_unix(const char *text, size_t len)
{
	static const char word[] = "unix";
	size_t same = 0;
	for (size_t i = 0; i < len && same < strlen(word); i++)
		same = (text[i] | 0x20) == word[same] ? same + 1
						      : (text[i] | 0x20) == *word;
	return same == strlen(word);
}

/* Beside a mistake nobody knows what the other words would have meant, or the file that
 * was not read. */
static bool may_trust_unix(const struct tp_config *config)
{
	struct scan trust = scan_variable(config->variables, "TRUEPEER_TRUST");
	struct scan rules = scan_variable(config->variables, "TRUEPEER_RULES");
	struct tp_word word;
	return mentions_unix(config->text, config->len) ||
	       mentions_unix(trust.at, (size_t)(trust.end - trust.at)) ||
	       (!config->file && next_word(&rules, &word));
}

void tp_config_read(const struct tp_config *config, void *memory,
		    struct tp_policy *policy, struct tp_mistake_sink sink)
{
	struct reading reading = {
		.config = config,
		.policy = policy,
		.draft = {.policy = policy,
			  .names = config->names,
			  .lists = (char *)memory + rules_memory(config)},
		.sink = sink,
	};
	*policy = tp_setting_default_policy();
	policy->rules = memory;
	if (config->len)
		read_file(&reading);
	reading.line = 0;
	read_variables(&reading, true);
	read_variable_rule(&reading);
	tell_if_empty(&reading);
	tp_policy_gather_sources(policy, reading.draft.lists);
	policy->state = policy->rule_count ? TP_POLICY_ON : TP_POLICY_OFF;
	if (reading.mistakes) {
		policy->state = TP_POLICY_BROKEN;
		policy->has_unix = may_trust_unix(config);
	}
}
