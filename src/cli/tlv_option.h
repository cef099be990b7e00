/* SPDX-License-Identifier: MIT */
/* TLVs from the command line: `--tlv TYPE=VALUE`. */
#ifndef TP_TLV_OPTION_H
#define TP_TLV_OPTION_H

#include <stddef.h>
#include <stdint.h>

#define TP_TLV_OPTIONS_MAX 65535 /* as much as a header holds */

struct tp_tlv_bytes {
	uint8_t bytes[TP_TLV_OPTIONS_MAX];
	size_t len;
};

struct tp_tlv_options {
	struct tp_tlv_bytes tlvs; /* complete but for SSL */
	struct tp_tlv_bytes ssl;  /* the value of the SSL TLV, empty: none */
};

/*
 * Adds one. TYPE is a number (0xE5, 229) or a name of fields.h ("unique-id",
 * "ssl-version"); also ssl, ssl-client and ssl-verify for the SSL TLV itself. VALUE is
 * taken as it is, or as hexadecimal behind "hex:"; for a field that is a number it is a
 * decimal number. Returns NULL or what is wrong (static text).
 */
const char *tp_tlv_option_add(struct tp_tlv_options *options, const char *text);

/* Puts the SSL TLV behind the others. Returns NULL or what is wrong. */
const char *tp_tlv_options_finish(struct tp_tlv_options *options);

/*
 * A value as it stands on the command line, into bytes[0..room). NULL or what is wrong.
 */
const char *tp_value_parse(const char *text, uint8_t *bytes, size_t room, size_t *len);

#endif
