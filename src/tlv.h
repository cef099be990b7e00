/* SPDX-License-Identifier: MIT */
/* The type-length-value fields behind the addresses of a v2 header (section 2.2). */
#ifndef TP_TLV_H
#define TP_TLV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TP_TLV_HEAD 3 /* type, length in network byte order */

enum tp_tlv_type {
	TP_TLV_ALPN = 0x01,
	TP_TLV_AUTHORITY = 0x02,
	TP_TLV_CRC32C = 0x03,
	TP_TLV_NOOP = 0x04,
	TP_TLV_UNIQUE_ID = 0x05,
	TP_TLV_SSL = 0x20,
	TP_TLV_SSL_VERSION = 0x21, /* this and the next two: within TP_TLV_SSL */
	TP_TLV_SSL_CN = 0x22,
	TP_TLV_SSL_CIPHER = 0x23,
	TP_TLV_NETNS = 0x30,
	TP_TLV_AWS = 0xea, /* its value begins with a type of its own */
};

#define TP_TLV_CRC32C_SIZE 4
#define TP_TLV_UNIQUE_ID_MAX 128
#define TP_TLV_AWS_VPCE 1

struct tp_tlv {
	uint8_t type;
	uint16_t length;
	const uint8_t *value;
};

/*
 * Reads the field at *at in bytes[0..len) and moves *at behind it. False at the end, and
 * where a field runs past the end: then *at is not len. Pure.
 */
bool tp_tlv_next(const uint8_t *bytes, size_t len, size_t *at, struct tp_tlv *tlv);

#endif
