/* SPDX-License-Identifier: MIT */
/*
 * What "truepeer decode" prints of the bytes that a stranger sent: no control characters,
 * and right JSON. Input: the bytes. The command's source is part of this, for what it
 * shows is not public.
 */
#include "cli/decode.c"
#include "printed.h"

static size_t count(const char *words)
{
	size_t times = 0;
	for (const char *at = printed.text; (at = strstr(at, words)); at++)
		times++;
	return times;
}

/* Every field of the header is there; those within others come on top. */
static size_t count_fields(const struct tp_header *header)
{
	struct tp_fields fields = tp_fields_of_header(header->tlvs, header->tlvs_length);
	struct tp_field field;
	size_t times = 0;
	while (tp_fields_next(&fields, &field))
		times++;
	LAW(fields.at == fields.length);
	return times;
}

static void check(const struct finding *finding, bool json)
{
	const bool done = finding->verdict == TP_DONE;
	begin_printing();
	(json ? show_json : show_text)(finding);
	end_printing();
	if (json)
		check_json();
	LAW(count(json ? "\"error\": " : " (at byte ") >= !done);
	LAW(count(json ? "\"version\": " : "version     ") >= done);
	if (done)
		LAW(count(json ? "\"type\": " : " bytes") >=
		    count_fields(&finding->header));
	else
		LAW(finding->offset <= finding->input->len && *finding->error);
	free(printed.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct input input;
	if (size > sizeof input.bytes)
		size = sizeof input.bytes;
	memcpy(input.bytes, data, size);
	input.len = input.total = size;
	struct finding finding = {.input = &input};
	judge(&finding);
	check(&finding, false);
	check(&finding, true);
	return 0;
}
