/* SPDX-License-Identifier: MIT */
#include "fields.h"

#include <ctype.h>
#include <string.h>

#include "tlv.h"

enum { GCP_PSC = 0xe0, AWS = 0xea, AZURE = 0xee };

/*
 * Section 2.2 of the specification; and the documentation of AWS (custom TLVs of Network
 * Load Balancers), Google Cloud (Private Service Connect) and Azure (Private Link).
 */
static const struct tp_field_kind kinds[] = {
	{0, TP_TLV_ALPN, TP_FIELD_TEXT, "ALPN"},
	{0, TP_TLV_AUTHORITY, TP_FIELD_TEXT, "AUTHORITY"},
	{0, TP_TLV_CRC32C, TP_FIELD_BYTES, "CRC32C"},
	{0, TP_TLV_NOOP, TP_FIELD_BYTES, "NOOP"},
	{0, TP_TLV_UNIQUE_ID, TP_FIELD_BYTES, "UNIQUE_ID"},
	{0, TP_TLV_SSL, TP_FIELD_SSL, "SSL"},
	{0, TP_TLV_NETNS, TP_FIELD_TEXT, "NETNS"},
	{0, GCP_PSC, TP_FIELD_NUMBER8, "GCP_PSC_CONNECTION_ID"},
	{0, AWS, TP_FIELD_TYPED, "AWS"},
	{0, AZURE, TP_FIELD_TYPED, "AZURE"},
	{TP_TLV_SSL, 0x21, TP_FIELD_TEXT, "SSL_VERSION"},
	{TP_TLV_SSL, 0x22, TP_FIELD_TEXT, "SSL_CN"},
	{TP_TLV_SSL, 0x23, TP_FIELD_TEXT, "SSL_CIPHER"},
	{TP_TLV_SSL, 0x24, TP_FIELD_TEXT, "SSL_SIG_ALG"},
	{TP_TLV_SSL, 0x25, TP_FIELD_TEXT, "SSL_KEY_ALG"},
	{TP_TLV_SSL, 0x26, TP_FIELD_TEXT, "SSL_GROUP"},
	{TP_TLV_SSL, 0x27, TP_FIELD_TEXT, "SSL_SIG_SCHEME"},
	{TP_TLV_SSL, 0x28, TP_FIELD_BYTES, "SSL_CLIENT_CERT"},
	{AWS, 0x01, TP_FIELD_TEXT, "AWS_VPCE_ID"},
	{AZURE, 0x01, TP_FIELD_LITTLE4, "AZURE_PRIVATEENDPOINT_LINKID"},
};

#define KINDS (sizeof kinds / sizeof *kinds)

/* Section 2.2.8: who may use the types that have no name of their own. */
static const struct tp_field_kind unknown = {.name = "UNKNOWN"};
static const struct tp_field_kind custom = {.name = "CUSTOM"};
static const struct tp_field_kind experiment = {.name = "EXPERIMENT"};

static const struct tp_field_kind *find_kind(uint8_t parent, uint8_t type)
{
	for (size_t i = 0; i < KINDS; i++)
		if (kinds[i].parent == parent && kinds[i].type == type)
			return &kinds[i];
	if (!parent && type >= 0xe0 && type <= 0xef)
		return &custom;
	if (!parent && type >= 0xf0 && type <= 0xf7)
		return &experiment;
	return &unknown;
}

static bool names_match(const char *name, const char *given, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = given[i] == '-' ? '_' : (char)toupper((unsigned char)given[i]);
		if (c != name[i])
			return false;
	}
	return !name[len];
}

const struct tp_field_kind *tp_field_kind_named(const char *name, size_t len)
{
	for (size_t i = 0; i < KINDS; i++)
		if (names_match(kinds[i].name, name, len))
			return &kinds[i];
	return NULL;
}

struct tp_fields tp_fields_of_header(const uint8_t *tlvs, size_t length)
{
	return (struct tp_fields){NULL, tlvs, length, 0};
}

bool tp_field_has_fields(const struct tp_field *field)
{
	return field->kind->form == TP_FIELD_SSL || field->kind->form == TP_FIELD_TYPED;
}

uint32_t tp_field_ssl_verify(const struct tp_field *field)
{
	const uint8_t *at = field->value + 1;
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 |
	       at[3];
}

struct tp_fields tp_fields_within(const struct tp_field *field)
{
	size_t head = field->kind->form == TP_FIELD_SSL ? TP_FIELD_SSL_HEAD : 0;
	return (struct tp_fields){field->kind, field->value, field->length, head};
}

bool tp_fields_next(struct tp_fields *fields, struct tp_field *field)
{
	struct tp_tlv tlv;
	if (fields->at >= fields->length)
		return false;
	if (fields->parent && fields->parent->form == TP_FIELD_TYPED) {
		tlv.type = fields->bytes[0];
		tlv.length = (uint16_t)(fields->length - 1);
		tlv.value = fields->bytes + 1;
		fields->at = fields->length;
	} else if (!tp_tlv_next(fields->bytes, fields->length, &fields->at, &tlv)) {
		return false;
	}
	*field = (struct tp_field){
		find_kind(fields->parent ? fields->parent->type : 0, tlv.type), tlv.type,
		tlv.length, tlv.value};
	return true;
}

bool tp_field_number(const struct tp_field *field, uint64_t *number)
{
	bool little = field->kind->form == TP_FIELD_LITTLE4;
	size_t size = little ? 4 : 8;
	if ((!little && field->kind->form != TP_FIELD_NUMBER8) || field->length != size)
		return false;
	*number = 0;
	for (size_t i = 0; i < size; i++)
		*number = *number << 8 | field->value[little ? size - 1 - i : i];
	return true;
}
