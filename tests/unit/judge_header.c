/* SPDX-License-Identifier: MIT */
/*
 * What the parser makes of headers: reads lines "ID HEX", writes one of JSON each, as
 * tests/vectors/check.py wants them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"
#include "tlv.h"

static void put_addr(const char *side, const char *port, const struct tp_addr *addr)
{
	char text[TP_ADDR_TEXT];
	tp_addr_format(addr, text);
	printf(", \"%s\": \"%s\", \"%s\": %u", side, text, port, addr->port);
}

static void put_tlvs(const struct tp_header *header)
{
	struct tp_tlv tlv;
	size_t at = 0;
	printf(", \"tlvs\": [");
	while (tp_tlv_next(header->tlvs, header->tlvs_length, &at, &tlv)) {
		printf("%s[%u, \"", tlv.value > header->tlvs + TP_TLV_HEAD ? ", " : "",
		       tlv.type);
		for (size_t i = 0; i < tlv.length; i++)
			printf("%02x", tlv.value[i]);
		printf("\"]");
	}
	putchar(']');
}

static void judge(const char *id, const uint8_t *bytes, size_t len)
{
	static const char *const outcomes[] = {
		[TP_DONE] = "local",
		[TP_MORE] = "incomplete",
		[TP_NONE] = "none",
		[TP_BAD] = "invalid",
	};
	struct tp_header header;
	enum tp_verdict verdict = tp_header_parse(bytes, len, TP_HEADER_V2_MAX, &header);
	bool client = verdict == TP_DONE && tp_header_names_client(&header);
	printf("{\"id\": \"%s\", \"outcome\": \"%s\"", id,
	       client ? "proxy" : outcomes[verdict]);
	if (verdict == TP_DONE)
		printf(", \"len\": %zu", header.length);
	if (client) {
		put_addr("src", "sport", &header.src);
		put_addr("dst", "dport", &header.dst);
		if (header.version == 2)
			put_tlvs(&header);
	}
	printf("}\n");
}

/* The bytes alone in memory of their own, so that sanitizers see a step beyond. */
static uint8_t *from_hex(const char *hex, size_t *len)
{
	*len = strlen(hex) / 2;
	uint8_t *bytes = malloc(*len ? *len : 1);
	for (size_t i = 0; bytes && i < *len; i++) {
		const char pair[] = {hex[2 * i], hex[2 * i + 1], '\0'};
		bytes[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return bytes;
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	while (getline(&line, &size, stdin) > 0) {
		char *hex = line + strcspn(line, " \n");
		if (*hex)
			*hex++ = '\0';
		hex[strcspn(hex, "\n")] = '\0';
		size_t len;
		uint8_t *bytes = from_hex(hex, &len);
		if (!bytes)
			return EXIT_FAILURE;
		judge(line, bytes, len);
		free(bytes);
	}
	free(line);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
