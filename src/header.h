/* SPDX-License-Identifier: MIT */
/*
 * The PROXY protocol header, versions 1 and 2: from bytes and to bytes.
 *
 * The source is HAProxy's doc/proxy-protocol.txt, revision of 2026-04-27; section
 * numbers below are its. Everything here is pure: no allocation, no I/O, no globals, no
 * errno; safe in threads and signal handlers.
 */
#ifndef TP_HEADER_H
#define TP_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define TP_HEADER_V1_MAX 107 /* section 2.1: with the CRLF */
#define TP_HEADER_V2_MIN 16  /* section 2.2: signature, two bytes, length */
#define TP_HEADER_V2_MAX (16 + 65535)
#define TP_UNIX_PATHS (2 * 108) /* section 2.2: source and destination path */

enum tp_verdict {
	TP_DONE, /* a complete, valid header */
	TP_MORE, /* valid so far */
	TP_NONE, /* these bytes cannot begin a header */
	TP_BAD,	 /* it begins like a header and breaks the specification */
};

enum tp_command {
	TP_LOCAL,   /* v2 LOCAL: the sender speaks for itself */
	TP_PROXY,   /* on behalf of another */
	TP_UNKNOWN, /* v1 UNKNOWN */
};

enum tp_transport {
	TP_TRANSPORT_UNSPEC = 0,
	TP_TRANSPORT_STREAM = 1,
	TP_TRANSPORT_DGRAM = 2,
};

struct tp_header {
	size_t length;	 /* DONE: bytes of the header; MORE: see tp_header_parse */
	uint8_t version; /* 1 or 2 */
	enum tp_command command;
	enum tp_transport transport;
	sa_family_t family; /* AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC */
	struct tp_addr src; /* the client; AF_UNSPEC unless family is an internet one */
	struct tp_addr dst; /* where it connected to */
	const uint8_t
		*unix_paths; /* AF_UNIX: TP_UNIX_PATHS bytes in the input, else NULL */
	const uint8_t
		*tlvs; /* in the input, NULL when there are none or they are not read */
	size_t tlvs_length;
	bool crc32c;	    /* a checksum was there, and right */
	const char *reason; /* BAD: what is wrong, static text */
	size_t offset;	    /* BAD: the byte where */
};

/* What a receiver takes. */
struct tp_header_limits {
	size_t max; /* bytes of the longest v2 header; a longer one is BAD */
	/* Beyond the specification: a v1 destination may be of the other family, as nginx
	 * writes it when its realip module has changed the client. */
	bool mixed_family;
};

/*
 * Reads the header at the start of buf[0..len).
 *
 * DONE: all of *header is set but reason and offset; pointers lead into buf.
 * MORE: header->length is the least number of bytes, counted from the start of buf, with
 *       which the answer could change. It is always above len.
 * BAD:  header->reason and header->offset say why.
 * Every proper prefix of a DONE input says MORE; what follows the header changes nothing.
 *
 * LOCAL, UNKNOWN and an unspecified family or transport are DONE without src and dst,
 * whatever else stands in them (sections 2.1 and 2.2). TLVs are checked behind every
 * other block of addresses, AF_UNIX and datagrams included.
 */
enum tp_verdict tp_header_parse_within(const uint8_t *buf, size_t len,
				       const struct tp_header_limits *limits,
				       struct tp_header *header);

/* The same by the letter of the specification. */
enum tp_verdict tp_header_parse(const uint8_t *buf, size_t len, size_t max,
				struct tp_header *header);

/* Whether src is the address of a TCP client, to be reported instead of the sender's. */
bool tp_header_names_client(const struct tp_header *header);

/*
 * Writes *header as version header->version into buf[0..size) and returns its length, or
 * 0 when it does not fit or cannot be said in that version. With header->crc32c a v2
 * header gets a right checksum TLV at its end (a checksum TLV among header->tlvs is left
 * out, so that a parsed header can be written again). length, reason and offset are not
 * looked at; tlvs and unix_paths may not overlap buf.
 */
size_t tp_header_write(const struct tp_header *header, uint8_t *buf, size_t size);

/* The two versions, each with the same contract; tp_header_parse_within picks by the
 * first bytes. */
enum tp_verdict tp_header_v1_parse(const uint8_t *buf, size_t len, bool mixed_family,
				   struct tp_header *header);
enum tp_verdict tp_header_v2_parse(const uint8_t *buf, size_t len, size_t max,
				   struct tp_header *header);
size_t tp_header_v1_write(const struct tp_header *header, uint8_t *buf, size_t size);
size_t tp_header_v2_write(const struct tp_header *header, uint8_t *buf, size_t size);

/* How the two begin (sections 2.1 and 2.2). */
#define TP_HEADER_V1_MARK "PROXY "
#define TP_HEADER_V1_MARK_SIZE 6
#define TP_HEADER_V2_MARK "\r\n\r\n\0\r\nQUIT\n"
#define TP_HEADER_V2_MARK_SIZE 12

static inline enum tp_verdict tp_header_bad(struct tp_header *header, size_t offset,
					    const char *reason)
{
	header->offset = offset;
	header->reason = reason;
	return TP_BAD;
}

static inline enum tp_verdict tp_header_more(struct tp_header *header, size_t length)
{
	header->length = length;
	return TP_MORE;
}

#endif
