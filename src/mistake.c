/* SPDX-License-Identifier: MIT */
#include "mistake.h"

#define SHOWN 100 /* bytes of a word */

static void put_word(struct tp_text *text, const struct tp_mistake *mistake)
{
	bool cut = mistake->word_len > SHOWN;
	tp_text_put_quoted(text, mistake->word, cut ? SHOWN : mistake->word_len);
	tp_text_put(text, cut ? "..." : "");
}

void tp_mistake_put(struct tp_text *text, const struct tp_mistake *mistake)
{
	const char *colon = "";
	if (mistake->file) {
		tp_text_put(text, mistake->file);
		colon = ": ";
	}
	if (mistake->line) {
		tp_text_put(text, ":");
		tp_text_put_number(text, mistake->line);
	}
	if (mistake->setting) {
		tp_text_put(text, colon);
		tp_text_put(text, mistake->setting);
		colon = ": ";
	}
	if (mistake->word) {
		tp_text_put(text, colon);
		put_word(text, mistake);
		colon = ": ";
	}
	if (mistake->reason) {
		tp_text_put(text, colon);
		tp_text_put(text, mistake->reason);
	}
	if (mistake->expected) {
		tp_text_put(text, "; expected ");
		tp_text_put(text, mistake->expected);
		tp_text_put(text, mistake->or_key ? ", or another setting" : "");
	}
}
