/* SPDX-License-Identifier: MIT */
#include "addr.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool parse_ipv4(const char *text, size_t len, uint8_t ip[4])
{
	size_t at = 0;
	for (int octet = 0; octet < 4; octet++) {
		unsigned value = 0;
		size_t start = at;
		while (at < len && text[at] >= '0' && text[at] <= '9' && at - start < 3)
			value = value * 10 + (unsigned)(text[at++] - '0');
		if (at == start || value > 255 || (text[start] == '0' && at - start > 1))
			return false;
		ip[octet] = (uint8_t)value;
		if (octet < 3 && (at == len || text[at++] != '.'))
			return false;
	}
	return at == len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/*
 * Reads groups separated by single colons, to the end of the text or to a "::".
 * Returns the bytes written, at most 16, or -1; *at stands behind what was read.
 */
static int parse_groups(const char *text, size_t len, size_t *at, uint8_t ip[16])
{
	int size = 0;
	while (*at < len && size < 16) {
		size_t start = *at;
		unsigned value = 0;
		while (*at < len && hex_digit(text[*at]) >= 0 && *at - start < 4)
			value = value << 4 | (unsigned)hex_digit(text[(*at)++]);
		if (*at < len && text[*at] == '.') {
			if (size > 12 ||
			    !parse_ipv4(text + start, len - start, ip + size))
				return -1;
			*at = len;
			return size + 4;
		}
		if (*at == start)
			return -1;
		ip[size++] = (uint8_t)(value >> 8);
		ip[size++] = (uint8_t)value;
		if (*at == len)
			break;
		if (text[*at] != ':')
			return -1;
		if (*at + 1 < len && text[*at + 1] == ':')
			break;
		if (++*at == len)
			return -1;
	}
	return size;
}

static bool parse_ipv6(const char *text, size_t len, uint8_t ip[16])
{
	uint8_t head[16], tail[16];
	size_t at = 0;
	int head_size = 0, tail_size = 0;
	bool gap = len >= 2 && text[0] == ':' && text[1] == ':';
	if (!gap) {
		head_size = parse_groups(text, len, &at, head);
		gap = head_size >= 0 && at + 1 < len && text[at] == ':' &&
		      text[at + 1] == ':';
	}
	if (gap) {
		at += 2;
		tail_size = parse_groups(text, len, &at, tail);
	}
	if (head_size < 0 || tail_size < 0 || at != len)
		return false;
	if (gap ? head_size + tail_size > 14 : head_size != 16)
		return false;
	memset(ip, 0, 16);
	memcpy(ip, head, (size_t)head_size);
	memcpy(ip + 16 - tail_size, tail, (size_t)tail_size);
	return true;
}

bool tp_addr_parse(const char *text, size_t len, sa_family_t family, struct tp_addr *addr)
{
	uint8_t ip[16] = {0};
	bool ok = family == AF_INET ? parse_ipv4(text, len, ip)
				    : family == AF_INET6 && parse_ipv6(text, len, ip);
	if (ok) {
		addr->family = family;
		memcpy(addr->ip, ip, sizeof ip);
	}
	return ok;
}

static char *format_number(char *out, unsigned value, unsigned base)
{
	char digits[8];
	size_t n = 0;
	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (n)
		*out++ = digits[--n];
	return out;
}

static char *format_ipv4(char *out, const uint8_t ip[4])
{
	for (int i = 0; i < 4; i++) {
		if (i)
			*out++ = '.';
		out = format_number(out, ip[i], 10);
	}
	return out;
}

/* The first of the longest runs of two or more zero groups (RFC 5952 section 4.2). */
static void find_zero_run(const uint8_t ip[16], int *start, int *end)
{
	*start = *end = -1;
	for (int i = 0; i < 8; i++) {
		int j = i;
		while (j < 8 && !ip[2 * j] && !ip[2 * j + 1])
			j++;
		if (j - i >= 2 && j - i > *end - *start) {
			*start = i;
			*end = j;
		}
		if (j > i)
			i = j;
	}
}

static char *format_ipv6(char *out, const uint8_t ip[16])
{
	int start, end;
	find_zero_run(ip, &start, &end);
	for (int i = 0; i < 8; i++) {
		if (i == start) {
			*out++ = ':';
			*out++ = ':';
			i = end;
			if (i == 8)
				break;
		} else if (i) {
			*out++ = ':';
		}
		out = format_number(out, (unsigned)ip[2 * i] << 8 | ip[2 * i + 1], 16);
	}
	return out;
}

static bool is_mapped(const struct tp_addr *addr)
{
	return addr->family == AF_INET6 &&
	       !memcmp(addr->ip, mapped_prefix, sizeof mapped_prefix);
}

size_t tp_addr_format(const struct tp_addr *addr, char text[TP_ADDR_TEXT])
{
	char *out = text;
	if (addr->family == AF_INET) {
		out = format_ipv4(out, addr->ip);
	} else if (is_mapped(addr)) {
		memcpy(out, "::ffff:", 7);
		out = format_ipv4(out + 7, addr->ip + 12);
	} else if (addr->family == AF_INET6) {
		out = format_ipv6(out, addr->ip);
	} else {
		*out++ = '?';
	}
	*out = '\0';
	return (size_t)(out - text);
}

size_t tp_addr_size(sa_family_t family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

struct tp_addr tp_addr_unmap(struct tp_addr addr)
{
	if (is_mapped(&addr)) {
		addr.family = AF_INET;
		memcpy(addr.ip, addr.ip + 12, 4);
		memset(addr.ip + 4, 0, 12);
	}
	return addr;
}

struct tp_addr tp_addr_from_kernel(const union tp_sockaddr *kernel)
{
	struct tp_addr addr = {.family = AF_UNSPEC};
	if (kernel->any.sa_family == AF_INET) {
		addr.family = AF_INET;
		addr.port = ntohs(kernel->in.sin_port);
		memcpy(addr.ip, &kernel->in.sin_addr, 4);
	} else if (kernel->any.sa_family == AF_INET6) {
		addr.family = AF_INET6;
		addr.port = ntohs(kernel->in6.sin6_port);
		memcpy(addr.ip, &kernel->in6.sin6_addr, 16);
	}
	return addr;
}

socklen_t tp_addr_to_kernel(const struct tp_addr *addr, sa_family_t socket_family,
			    union tp_sockaddr *kernel)
{
	memset(kernel, 0, sizeof *kernel);
	if (addr->family == AF_INET && socket_family != AF_INET6) {
		kernel->in.sin_family = AF_INET;
		kernel->in.sin_port = htons(addr->port);
		memcpy(&kernel->in.sin_addr, addr->ip, 4);
		return sizeof kernel->in;
	}
	if (addr->family == AF_UNSPEC)
		return 0;
	kernel->in6.sin6_family = AF_INET6;
	kernel->in6.sin6_port = htons(addr->port);
	uint8_t *ip = kernel->in6.sin6_addr.s6_addr;
	if (addr->family == AF_INET6) {
		memcpy(ip, addr->ip, 16);
	} else {
		memcpy(ip, mapped_prefix, sizeof mapped_prefix);
		memcpy(ip + 12, addr->ip, 4);
	}
	return sizeof kernel->in6;
}
