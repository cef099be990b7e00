/* SPDX-License-Identifier: MIT */
/* The TLVs of a version 2 header by name, and the fields within them. Pure. */
#ifndef TP_FIELDS_H
#define TP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a value is. */
enum tp_field_form {
	TP_FIELD_BYTES,
	TP_FIELD_TEXT,	  /* UTF-8 or ASCII */
	TP_FIELD_NUMBER8, /* 8 bytes, in network byte order */
	TP_FIELD_LITTLE4, /* 4 bytes, the lowest first */
	TP_FIELD_SSL,	  /* section 2.2.6: flags, verdict, TLVs */
	TP_FIELD_TYPED,	  /* one byte of type, then the value: clouds do it so */
};

struct tp_field_kind {
	uint8_t parent; /* the TLV it lies in, 0: none */
	uint8_t type;
	enum tp_field_form form;
	const char *name;
};

struct tp_field {
	const struct tp_field_kind *kind; /* never NULL */
	uint8_t type;
	size_t length;
	const uint8_t *value;
};

/* What stands at the start of an SSL TLV (section 2.2.6). */
#define TP_FIELD_SSL_HEAD 5

/* The fields of one level. */
struct tp_fields {
	const struct tp_field_kind *parent; /* NULL: the TLVs of the header */
	const uint8_t *bytes;
	size_t length, at;
};

struct tp_fields tp_fields_of_header(const uint8_t *tlvs, size_t length);

/* Whether its value is made of fields. */
bool tp_field_has_fields(const struct tp_field *field);

/* Of an SSL TLV with a whole head: 0 when the client's certificate was verified. */
uint32_t tp_field_ssl_verify(const struct tp_field *field);

/* Those within a field that has fields. */
struct tp_fields tp_fields_within(const struct tp_field *field);

/* The next one; false at the end, and where it is broken: then at is not length. */
bool tp_fields_next(struct tp_fields *fields, struct tp_field *field);

/* Whether the value is a number, as its kind says. */
bool tp_field_number(const struct tp_field *field, uint64_t *number);

/* By its name, with - for _ and in any case: "unique-id"; NULL when there is none. */
const struct tp_field_kind *tp_field_kind_named(const char *name, size_t len);

#endif
