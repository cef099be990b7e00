/* SPDX-License-Identifier: MIT */
/* The checksum of section 2.2.3 (RFC 4960 appendix B). */
#ifndef TP_CRC32C_H
#define TP_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * Continues a CRC-32C over bytes[0..len). Start with 0; feeding a text in pieces gives
 * the same value as feeding it whole. Pure.
 */
uint32_t tp_crc32c(uint32_t crc, const uint8_t *bytes, size_t len);

#endif
