/* SPDX-License-Identifier: MIT */
#include "tlv_option.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"
#include "fields.h"
#include "tlv.h"

static const char too_long[] = "too long for a header";

const char *tp_value_parse(const char *text, uint8_t *bytes, size_t room, size_t *len)
{
	bool hex = !strncmp(text, "hex:", 4);
	text += hex ? 4 : 0;
	if (strlen(text) / (hex ? 2 : 1) > room)
		return too_long;
	if (hex)
		return tp_unescape_hex(text, bytes, len)
			       ? "not pairs of hexadecimal digits"
			       : NULL;
	*len = strlen(text);
	memcpy(bytes, text, *len);
	return NULL;
}

static bool append(struct tp_tlv_bytes *to, const void *bytes, size_t len)
{
	if (len > sizeof to->bytes - to->len)
		return false;
	memcpy(to->bytes + to->len, bytes, len);
	to->len += len;
	return true;
}

static const char *append_tlv(struct tp_tlv_bytes *to, uint8_t type, const uint8_t *value,
			      size_t len)
{
	const uint8_t head[TP_TLV_HEAD] = {type, (uint8_t)(len >> 8), (uint8_t)len};
	return append(to, head, sizeof head) && append(to, value, len) ? NULL : too_long;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *number)
{
	char *end;
	bool digit = *text >= '0' && *text <= '9'; /* strtoull takes signs and spaces */
	bool hex = !strncmp(text, "0x", 2);
	*number = strtoull(text, &end, hex ? 16 : 10);
	return digit && !*end && *number <= max;
}

static void write_number(uint8_t *bytes, uint64_t number, size_t size, bool little)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(number >> 8 * (little ? i : size - 1 - i));
}

/* The value of a field that has a name. */
static const char *parse_value(const struct tp_field_kind *kind, const char *text,
			       uint8_t *bytes, size_t room, size_t *len)
{
	bool little = kind->form == TP_FIELD_LITTLE4;
	uint64_t number;
	if (!little && kind->form != TP_FIELD_NUMBER8)
		return tp_value_parse(text, bytes, room, len);
	*len = little ? 4 : 8;
	if (!parse_number(text, little ? UINT32_MAX : UINT64_MAX, &number))
		return little ? "not a number of 32 bits" : "not a number of 64 bits";
	write_number(bytes, number, *len, little);
	return NULL;
}

/* Where the fields of the SSL TLV go; it begins as "TLS, no verified certificate". */
static struct tp_tlv_bytes *ssl_value(struct tp_tlv_options *options)
{
	static const uint8_t head[TP_FIELD_SSL_HEAD] = {1, 0, 0, 0, 1};
	if (!options->ssl.len)
		append(&options->ssl, head, sizeof head);
	return &options->ssl;
}

static const char *add_named(struct tp_tlv_options *options,
			     const struct tp_field_kind *kind, const char *text)
{
	static uint8_t value[TP_TLV_OPTIONS_MAX];
	size_t len, typed = kind->parent && kind->parent != TP_TLV_SSL;
	if (kind->form == TP_FIELD_SSL || kind->form == TP_FIELD_TYPED)
		return "this one has fields of its own, such as ssl-version or "
		       "aws-vpce-id";
	if (kind->type == TP_TLV_CRC32C && !kind->parent)
		return "the option --crc32c makes the checksum";
	const char *wrong =
		parse_value(kind, text, value + typed, sizeof value - typed, &len);
	if (wrong)
		return wrong;
	if (kind->parent == TP_TLV_SSL)
		return append_tlv(ssl_value(options), kind->type, value, len);
	value[0] = typed ? kind->type : value[0];
	return append_tlv(&options->tlvs, typed ? kind->parent : kind->type, value,
			  len + typed);
}

/* What is not a field, but a number at the head of the SSL TLV. */
static const char *add_ssl_head(struct tp_tlv_options *options, bool verify,
				const char *text)
{
	uint64_t number;
	if (!parse_number(text, verify ? UINT32_MAX : UINT8_MAX, &number))
		return verify ? "not a number of 32 bits" : "not a number of 8 bits";
	uint8_t *head = ssl_value(options)->bytes;
	write_number(head + verify, number, verify ? 4 : 1, false);
	return NULL;
}

static const char *add_raw(struct tp_tlv_options *options, uint8_t type, const char *text)
{
	static uint8_t value[TP_TLV_OPTIONS_MAX];
	size_t len;
	const char *wrong = tp_value_parse(text, value, sizeof value, &len);
	return wrong ? wrong : append_tlv(&options->tlvs, type, value, len);
}

static bool name_is(const char *text, size_t len, const char *name)
{
	return len == strlen(name) && !memcmp(text, name, len);
}

const char *tp_tlv_option_add(struct tp_tlv_options *options, const char *text)
{
	size_t len = strcspn(text, "=");
	uint64_t type;
	char number[8] = "";
	if (name_is(text, len, "ssl") && !text[len]) {
		ssl_value(options);
		return NULL;
	}
	if (!text[len])
		return "expected TYPE=VALUE";
	const char *value = text + len + 1;
	if (name_is(text, len, "ssl-client") || name_is(text, len, "ssl-verify"))
		return add_ssl_head(options, text[4] == 'v', value);
	if (len < sizeof number)
		memcpy(number, text, len);
	if (parse_number(number, UINT8_MAX, &type))
		return add_raw(options, (uint8_t)type, value);
	const struct tp_field_kind *kind = tp_field_kind_named(text, len);
	return kind ? add_named(options, kind, value)
		    : "no such type; expected a number from 0 to 255 or a name such as "
		      "authority";
}

const char *tp_tlv_options_finish(struct tp_tlv_options *options)
{
	return options->ssl.len ? append_tlv(&options->tlvs, TP_TLV_SSL,
					     options->ssl.bytes, options->ssl.len)
				: NULL;
}
