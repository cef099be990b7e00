/* SPDX-License-Identifier: MIT */
#include "endpoint.h"

#include <string.h>

bool tp_number_parse(const char *text, unsigned long max, unsigned long *number)
{
	unsigned long value = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		unsigned long digit = (unsigned long)(*text - '0');
		if (digit > max || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*number = value;
	return true;
}

bool tp_endpoint_parse(const char *text, struct tp_addr *addr)
{
	const char *colon = strrchr(text, ':');
	struct tp_addr read;
	unsigned long port;
	if (!colon || !tp_number_parse(colon + 1, 65535, &port))
		return false;
	size_t len = (size_t)(colon - text);
	bool brackets = len >= 2 && text[0] == '[' && text[len - 1] == ']';
	if (!tp_addr_parse(text + brackets, len - 2 * brackets,
			   brackets ? AF_INET6 : AF_INET, &read))
		return false;
	read.port = (uint16_t)port;
	*addr = read;
	return true;
}
