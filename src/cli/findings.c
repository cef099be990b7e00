/* SPDX-License-Identifier: MIT */
#include "findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

void tp_finding_add(struct tp_findings *findings, const char *cause, const char *remedy,
		    const char *format, ...)
{
	struct tp_finding finding = {.cause = cause, .remedy = remedy};
	va_list args;
	va_start(args, format);
	vsnprintf(finding.text, sizeof finding.text, format, args);
	va_end(args);
	for (size_t i = 0; i < findings->count; i++)
		if (!strcmp(findings->list[i].cause, cause) &&
		    !strcmp(findings->list[i].text, finding.text))
			return;
	if (findings->count < TP_FINDINGS_MAX)
		findings->list[findings->count++] = finding;
}

const char *tp_finding_quote(const char *word)
{
	static struct tp_text texts[4];
	static unsigned next;
	struct tp_text *text = &texts[next++ % 4];
	*text = (struct tp_text){0};
	tp_text_put_quoted(text, word, strlen(word));
	return text->text;
}
