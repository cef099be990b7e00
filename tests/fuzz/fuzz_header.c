/* SPDX-License-Identifier: MIT */
/* The laws of the header parser (header.h). Input: the bytes of a connection. */
#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "header.h"

#define EVERY_CUT 300 /* of longer headers some cuts are left out */

static enum tp_verdict parse_within(const uint8_t *bytes, size_t size,
				    struct tp_header_limits limits,
				    struct tp_header *header)
{
	/* Flush against the end of its memory. */
	uint8_t *copy = malloc(size ? size : 1);
	LAW(copy);
	memcpy(copy, bytes, size);
	memset(header, 0x5a, sizeof *header);
	enum tp_verdict verdict =
		limits.mixed_family ? tp_header_parse_within(copy, size, &limits, header)
				    : tp_header_parse(copy, size, limits.max, header);
	if (verdict == TP_DONE) {
		/* The pointers lead into the input. */
		if (header->tlvs)
			LAW(header->tlvs >= copy &&
			    header->tlvs + header->tlvs_length == copy + header->length);
		if (header->unix_paths)
			LAW(header->unix_paths >= copy &&
			    header->unix_paths + TP_UNIX_PATHS <= copy + header->length);
		header->tlvs = header->tlvs ? bytes + (header->tlvs - copy) : NULL;
		header->unix_paths =
			header->unix_paths ? bytes + (header->unix_paths - copy) : NULL;
	}
	free(copy);
	return verdict;
}

/* By the letter of the specification. */
static enum tp_verdict parse(const uint8_t *bytes, size_t size, size_t max,
			     struct tp_header *header)
{
	return parse_within(bytes, size, (struct tp_header_limits){.max = max}, header);
}

static bool same_addr(const struct tp_addr *a, const struct tp_addr *b)
{
	return a->family == b->family &&
	       (!a->family ||
		(a->port == b->port && !memcmp(a->ip, b->ip, tp_addr_size(a->family))));
}

/* What it says, not how it is written. */
static bool same_meaning(const struct tp_header *a, const struct tp_header *b)
{
	return a->version == b->version && a->command == b->command &&
	       a->transport == b->transport && a->family == b->family &&
	       same_addr(&a->src, &b->src) && same_addr(&a->dst, &b->dst) &&
	       a->crc32c == b->crc32c && !a->unix_paths == !b->unix_paths &&
	       (!a->unix_paths || !memcmp(a->unix_paths, b->unix_paths, TP_UNIX_PATHS));
}

static bool same_bytes(const struct tp_header *a, const struct tp_header *b)
{
	return same_meaning(a, b) && a->length == b->length &&
	       a->tlvs_length == b->tlvs_length &&
	       (!a->tlvs_length || !memcmp(a->tlvs, b->tlvs, a->tlvs_length));
}

/* Every proper prefix says MORE, and asks for no more than the header has. */
static void check_prefixes(const uint8_t *bytes, size_t length, size_t max)
{
	struct tp_header part;
	for (size_t cut = 0; cut < length;
	     cut += cut < EVERY_CUT || length - cut < 20 ? 1 : 97) {
		LAW(parse(bytes, cut, max, &part) == TP_MORE);
		LAW(part.length > cut && part.length <= length);
	}
}

/* Written, it reads as the same; written again, it is the same bytes. */
static void check_writing(const struct tp_header *header)
{
	static uint8_t first[TP_HEADER_V2_MAX + 64], second[sizeof first];
	struct tp_header again, thrice;
	size_t size = tp_header_write(header, first, sizeof first);
	if (!size) { /* only what has no room for the checksum's TLV */
		LAW(header->crc32c);
		return;
	}
	LAW(parse(first, size, sizeof first, &again) == TP_DONE && again.length == size);
	LAW(same_meaning(header, &again));
	LAW(tp_header_write(&again, second, sizeof second) == size);
	LAW(!memcmp(first, second, size));
	LAW(parse(second, size, sizeof second, &thrice) == TP_DONE);
	LAW(same_bytes(&again, &thrice));
	if (size > 1)
		LAW(!tp_header_write(header, second, size - 1));
}

/* The other version names the same client, or none as well. */
static void check_other_version(const struct tp_header *header)
{
	static uint8_t bytes[TP_HEADER_V2_MAX];
	struct tp_header other = *header, again;
	other.version = header->version == 1 ? 2 : 1;
	size_t size = tp_header_write(&other, bytes, sizeof bytes);
	LAW(size || other.crc32c); /* no room for the checksum's TLV */
	if (!size)
		return;
	LAW(parse(bytes, size, sizeof bytes, &again) == TP_DONE && again.length == size);
	LAW(again.version == other.version);
	LAW(tp_header_names_client(&again) == tp_header_names_client(header));
	if (tp_header_names_client(header))
		LAW(same_addr(&again.src, &header->src) &&
		    same_addr(&again.dst, &header->dst));
}

static void check_done(const uint8_t *data, size_t size, const struct tp_header *header)
{
	struct tp_header alone;
	LAW(header->length > 0 && header->length <= size);
	LAW(header->version == 1 || header->version == 2);
	LAW(!tp_header_names_client(header) || header->src.family == AF_INET ||
	    header->src.family == AF_INET6);
	/* What follows changes nothing. */
	LAW(parse(data, header->length, TP_HEADER_V2_MAX, &alone) == TP_DONE);
	LAW(same_bytes(header, &alone));
	check_prefixes(data, header->length, TP_HEADER_V2_MAX);
	check_writing(header);
	check_other_version(header);
	/* The limit is that of version 2, and counts the whole header. */
	LAW(parse(data, size, header->length, &alone) == TP_DONE);
	LAW(parse(data, size, header->length - 1, &alone) ==
	    (header->version == 2 ? TP_BAD : TP_DONE));
}

/* Nothing that comes before `need` bytes are there makes a difference. */
static void check_more(const uint8_t *data, size_t size, size_t need)
{
	static const uint8_t fillings[] = {0, '\n', '0', 0xff};
	LAW(need > size && need <= TP_HEADER_V2_MAX);
	for (size_t i = 0; i < sizeof fillings && need > size + 1; i++) {
		struct tp_header longer;
		uint8_t *more = malloc(need - 1);
		LAW(more);
		memcpy(more, data, size);
		memset(more + size, fillings[i], need - 1 - size);
		LAW(parse(more, need - 1, TP_HEADER_V2_MAX, &longer) == TP_MORE);
		free(more);
	}
}

/* A refusal is final, and whatever comes before the byte in question was none. */
static void check_refused(const uint8_t *data, size_t size, enum tp_verdict verdict,
			  const struct tp_header *header)
{
	struct tp_header other;
	uint8_t *more = malloc(size + 1);
	LAW(more && size);
	if (verdict == TP_BAD)
		LAW(header->reason && header->reason[0] && header->offset <= size);
	memcpy(more, data, size);
	more[size] = '\n';
	LAW(parse(more, size + 1, TP_HEADER_V2_MAX, &other) == verdict);
	for (size_t cut = 0; cut < size && cut < EVERY_CUT; cut++)
		LAW(parse(data, cut, TP_HEADER_V2_MAX, &other) != TP_DONE);
	free(more);
}

/* A destination of the other family is all that "lenient mixed-family" lets in, and what
 * neither version can say is not written. */
static void check_lenient(const uint8_t *data, size_t size, enum tp_verdict verdict,
			  const struct tp_header *strict)
{
	const struct tp_header_limits limits = {TP_HEADER_V2_MAX, .mixed_family = true};
	uint8_t bytes[TP_HEADER_V1_MAX];
	struct tp_header header;
	enum tp_verdict lenient = parse_within(data, size, limits, &header);
	if (verdict != TP_BAD || lenient == TP_BAD) {
		LAW(lenient == verdict && header.length == strict->length);
		if (verdict == TP_DONE)
			LAW(same_bytes(&header, strict));
		return;
	}
	LAW(lenient == TP_DONE && header.version == 1 && header.length <= size);
	LAW(header.src.family == header.family && header.dst.family != header.family);
	for (header.version = 1; header.version <= 2; header.version++)
		LAW(!tp_header_write(&header, bytes, sizeof bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tp_header header;
	enum tp_verdict verdict = parse(data, size, TP_HEADER_V2_MAX, &header);
	if (verdict == TP_DONE)
		check_done(data, size, &header);
	else if (verdict == TP_MORE)
		check_more(data, size, header.length);
	else
		check_refused(data, size, verdict, &header);
	check_lenient(data, size, verdict, &header);
	return 0;
}
