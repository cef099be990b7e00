/* SPDX-License-Identifier: MIT */
#include "header.h"

#include <string.h>

/* Whether buf begins with the mark, as far as both go. */
static bool begins(const uint8_t *buf, size_t len, const char *mark, size_t mark_size)
{
	return !memcmp(buf, mark, len < mark_size ? len : mark_size);
}

enum tp_verdict tp_header_parse_within(const uint8_t *buf, size_t len,
				       const struct tp_header_limits *limits,
				       struct tp_header *header)
{
	memset(header, 0, sizeof *header);
	if (!len)
		return tp_header_more(header, 1);
	if (begins(buf, len, TP_HEADER_V1_MARK, TP_HEADER_V1_MARK_SIZE))
		return len < TP_HEADER_V1_MARK_SIZE
			       ? tp_header_more(header, len + 1)
			       : tp_header_v1_parse(buf, len, limits->mixed_family,
						    header);
	if (begins(buf, len, TP_HEADER_V2_MARK, TP_HEADER_V2_MARK_SIZE))
		return len < TP_HEADER_V2_MARK_SIZE
			       ? tp_header_more(header, len + 1)
			       : tp_header_v2_parse(buf, len, limits->max, header);
	return TP_NONE;
}

enum tp_verdict tp_header_parse(const uint8_t *buf, size_t len, size_t max,
				struct tp_header *header)
{
	const struct tp_header_limits limits = {.max = max};
	return tp_header_parse_within(buf, len, &limits, header);
}

bool tp_header_names_client(const struct tp_header *header)
{
	return header->command == TP_PROXY && header->transport == TP_TRANSPORT_STREAM &&
	       header->src.family != AF_UNSPEC;
}

size_t tp_header_write(const struct tp_header *header, uint8_t *buf, size_t size)
{
	return header->version == 1 ? tp_header_v1_write(header, buf, size)
				    : tp_header_v2_write(header, buf, size);
}
