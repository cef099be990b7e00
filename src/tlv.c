/* SPDX-License-Identifier: MIT */
#include "tlv.h"

bool tp_tlv_next(const uint8_t *bytes, size_t len, size_t *at, struct tp_tlv *tlv)
{
	if (len - *at < TP_TLV_HEAD)
		return false;
	const uint8_t *head = bytes + *at;
	tlv->type = head[0];
	tlv->length = (uint16_t)(head[1] << 8 | head[2]);
	tlv->value = head + TP_TLV_HEAD;
	if (tlv->length > len - *at - TP_TLV_HEAD)
		return false;
	*at += (size_t)TP_TLV_HEAD + tlv->length;
	return true;
}
