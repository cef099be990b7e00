/* SPDX-License-Identifier: MIT */
/* Version 2, binary (section 2.2). */
#include <string.h>

#include "crc32c.h"
#include "header.h"
#include "tlv.h"

/* Where the fields of the fixed part stand. */
enum { AT_COMMAND = 12, AT_FAMILY = 13, AT_LENGTH = 14, AT_BLOCK = 16 };

/* The family nibble, and the bytes of an address block of that family. */
static const struct {
	sa_family_t family;
	uint8_t block;
} families[] = {{AF_UNSPEC, 0}, {AF_INET, 12}, {AF_INET6, 36}, {AF_UNIX, TP_UNIX_PATHS}};

static uint16_t read16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void write16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static uint32_t read32(const uint8_t *at)
{
	return (uint32_t)read16(at) << 16 | read16(at + 2);
}

static void read_addresses(const uint8_t *block, struct tp_header *header)
{
	if (header->family == AF_UNIX) {
		header->unix_paths = block;
		return;
	}
	size_t size = tp_addr_size(header->family);
	header->src.family = header->dst.family = header->family;
	memcpy(header->src.ip, block, size);
	memcpy(header->dst.ip, block + size, size);
	header->src.port = read16(block + 2 * size);
	header->dst.port = read16(block + 2 * size + 2);
}

/* The checksum is over the whole header with the four bytes of its value taken as zero.
 */
static bool checksum_holds(const uint8_t *buf, size_t length, const uint8_t *value)
{
	static const uint8_t zero[TP_TLV_CRC32C_SIZE];
	size_t before = (size_t)(value - buf);
	uint32_t crc = tp_crc32c(0, buf, before);
	crc = tp_crc32c(crc, zero, sizeof zero);
	crc = tp_crc32c(crc, value + sizeof zero, length - before - sizeof zero);
	return crc == read32(value);
}

static enum tp_verdict check_tlv(const uint8_t *buf, const struct tp_tlv *tlv,
				 struct tp_header *header)
{
	size_t offset = (size_t)(tlv->value - buf) - TP_TLV_HEAD;
	if (tlv->type == TP_TLV_UNIQUE_ID && tlv->length > TP_TLV_UNIQUE_ID_MAX)
		return tp_header_bad(header, offset, "UNIQUE_ID above 128 bytes");
	if (tlv->type != TP_TLV_CRC32C)
		return TP_DONE;
	if (tlv->length != TP_TLV_CRC32C_SIZE)
		return tp_header_bad(header, offset, "CRC32C of a wrong size");
	if (header->crc32c)
		return tp_header_bad(header, offset, "CRC32C twice");
	if (!checksum_holds(buf, header->length, tlv->value))
		return tp_header_bad(header, offset, "CRC32C does not match");
	header->crc32c = true;
	return TP_DONE;
}

static enum tp_verdict check_tlvs(const uint8_t *buf, size_t start,
				  struct tp_header *header)
{
	struct tp_tlv tlv;
	size_t at = start;
	while (tp_tlv_next(buf, header->length, &at, &tlv)) {
		enum tp_verdict verdict = check_tlv(buf, &tlv, header);
		if (verdict != TP_DONE)
			return verdict;
	}
	if (at != header->length)
		return tp_header_bad(header, at, "a TLV runs past the end");
	if (at > start) {
		header->tlvs = buf + start;
		header->tlvs_length = at - start;
	}
	return TP_DONE;
}

enum tp_verdict tp_header_v2_parse(const uint8_t *buf, size_t len, size_t max,
				   struct tp_header *header)
{
	if (len < TP_HEADER_V2_MIN)
		return tp_header_more(header, TP_HEADER_V2_MIN);
	unsigned version = buf[AT_COMMAND] >> 4, command = buf[AT_COMMAND] & 15;
	unsigned family = buf[AT_FAMILY] >> 4, transport = buf[AT_FAMILY] & 15;
	size_t length = AT_BLOCK + (size_t)read16(buf + AT_LENGTH);
	if (version != 2)
		return tp_header_bad(header, AT_COMMAND, "version is not 2");
	if (command > TP_PROXY)
		return tp_header_bad(header, AT_COMMAND, "unknown command");
	if (command == TP_PROXY && (family > 3 || transport > TP_TRANSPORT_DGRAM))
		return tp_header_bad(header, AT_FAMILY, "unknown family or transport");
	if (command == TP_PROXY && transport &&
	    length - AT_BLOCK < families[family].block)
		return tp_header_bad(header, AT_LENGTH, "too short for its family");
	if (length > max)
		return tp_header_bad(header, AT_LENGTH, "longer than the limit");
	if (len < length)
		return tp_header_more(header, length);

	header->version = 2;
	header->length = length;
	header->command = (enum tp_command)command;
	if (command == TP_LOCAL)
		return TP_DONE;
	header->family = families[family].family;
	header->transport = (enum tp_transport)transport;
	if (!family || !transport)
		return TP_DONE;
	read_addresses(buf + AT_BLOCK, header);
	return check_tlvs(buf, AT_BLOCK + (size_t)families[family].block, header);
}

/* A bounded place to write to; `at` above `size` means it did not fit. */
struct output {
	uint8_t *buf;
	size_t at, size;
};

static void put(struct output *out, const void *bytes, size_t len)
{
	if (len && out->at <= out->size && len <= out->size - out->at)
		memcpy(out->buf + out->at, bytes, len);
	out->at += len;
}

static void put16(struct output *out, size_t value)
{
	uint8_t bytes[2];
	write16(bytes, value);
	put(out, bytes, sizeof bytes);
}

/* The nibbles of families[] for what the header says, 0 where it has no addresses. */
static unsigned family_nibble(const struct tp_header *header)
{
	if (header->command == TP_PROXY)
		for (unsigned i = 1; i < sizeof families / sizeof *families; i++)
			if (families[i].family == header->family)
				return i;
	return 0;
}

static void put_addresses(struct output *out, const struct tp_header *header)
{
	if (header->family == AF_UNIX) {
		put(out, header->unix_paths, TP_UNIX_PATHS);
		return;
	}
	size_t size = tp_addr_size(header->family);
	put(out, header->src.ip, size);
	put(out, header->dst.ip, size);
	put16(out, header->src.port);
	put16(out, header->dst.port);
}

static void put_tlv(struct output *out, const struct tp_tlv *tlv)
{
	put(out, &tlv->type, 1);
	put16(out, tlv->length);
	put(out, tlv->value, tlv->length);
}

/* False when the fields do not end where they should. */
static bool put_tlvs(struct output *out, const struct tp_header *header)
{
	static const uint8_t zero[TP_TLV_CRC32C_SIZE];
	struct tp_tlv tlv;
	size_t at = 0;
	while (tp_tlv_next(header->tlvs, header->tlvs_length, &at, &tlv))
		if (!header->crc32c || tlv.type != TP_TLV_CRC32C)
			put_tlv(out, &tlv);
	if (header->crc32c)
		put_tlv(out, &(struct tp_tlv){TP_TLV_CRC32C, sizeof zero, zero});
	return at == header->tlvs_length;
}

/* Whether the addresses are there, and of the family that the header names. */
static bool has_addresses(const struct tp_header *header)
{
	if (header->family == AF_UNIX)
		return header->unix_paths;
	return header->src.family == header->family &&
	       header->dst.family == header->family;
}

size_t tp_header_v2_write(const struct tp_header *header, uint8_t *buf, size_t size)
{
	struct output out = {buf, 0, size};
	unsigned family = family_nibble(header);
	bool addressed = family && header->transport;
	if (addressed && !has_addresses(header))
		return 0;
	uint8_t command = header->command == TP_PROXY ? 0x21 : 0x20;
	uint8_t nibbles = header->command == TP_PROXY
				  ? (uint8_t)(family << 4 | header->transport)
				  : 0;
	put(&out, TP_HEADER_V2_MARK, TP_HEADER_V2_MARK_SIZE);
	put(&out, &command, 1);
	put(&out, &nibbles, 1);
	put16(&out, 0);
	if (addressed) {
		put_addresses(&out, header);
		if (!put_tlvs(&out, header))
			return 0;
	}
	if (out.at > size || out.at > TP_HEADER_V2_MAX)
		return 0;
	write16(buf + AT_LENGTH, out.at - AT_BLOCK);
	if (addressed && header->crc32c) {
		uint32_t crc = tp_crc32c(0, buf, out.at);
		write16(buf + out.at - 4, crc >> 16);
		write16(buf + out.at - 2, crc & 0xffff);
	}
	return out.at;
}
