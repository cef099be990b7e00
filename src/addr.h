/* SPDX-License-Identifier: MIT */
/* Internet addresses: from text, to text, from and to the kernel's form. */
#ifndef TP_ADDR_H
#define TP_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* An address with its port. */
struct tp_addr {
	sa_family_t family; /* AF_INET, AF_INET6, or AF_UNSPEC: no address */
	uint16_t port;	    /* host byte order */
	uint8_t ip[16];	    /* network byte order; AF_INET uses the first four */
};

/* Any address the kernel hands out for a socket. */
union tp_sockaddr {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage storage;
};

/* Room for the longest text: 39 characters of hexadecimal groups, or 45 with a dotted
 * tail. */
#define TP_ADDR_TEXT 48

/* All functions here are pure: no allocation, no errno, safe in threads and signal
 * handlers. */

/*
 * Reads text[0..len) as exactly one IPv4 or IPv6 address of the given family and sets
 * addr's family and ip (not its port). Strict: four decimal numbers without leading
 * zeros; groups of one to four hexadecimal digits, at most one "::" which stands for at
 * least one group, a dotted IPv4 tail allowed; no zone. On false addr is unchanged.
 */
bool tp_addr_parse(const char *text, size_t len, sa_family_t family,
		   struct tp_addr *addr);

/*
 * Writes the address without its port as RFC 5952 wants it, with a final NUL, and
 * returns the length without it. AF_UNSPEC gives "?".
 */
size_t tp_addr_format(const struct tp_addr *addr, char text[TP_ADDR_TEXT]);

/* The bytes of an address of this family: 4, 16, or 0. */
size_t tp_addr_size(sa_family_t family);

/* An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) becomes the IPv4 address. */
struct tp_addr tp_addr_unmap(struct tp_addr addr);

/* What the kernel wrote; other families than AF_INET and AF_INET6 give AF_UNSPEC. */
struct tp_addr tp_addr_from_kernel(const union tp_sockaddr *kernel);

/*
 * The kernel's form on a socket of socket_family: an IPv4 address on an AF_INET6 socket
 * is written as IPv4-mapped, everything else as it is. Returns the length, 16 or 28
 * (0 for AF_UNSPEC).
 */
socklen_t tp_addr_to_kernel(const struct tp_addr *addr, sa_family_t socket_family,
			    union tp_sockaddr *kernel);

#endif
