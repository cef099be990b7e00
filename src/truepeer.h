/* SPDX-License-Identifier: MIT */
/*
 * truepeer_get: what libtruepeer.so knows of a connection, for programs and plug-ins that
 * want more than accept and getpeername tell.
 *
 * The library is preloaded, not linked with. Whether it is there, dlsym tells:
 *
 *	truepeer_get_t get = (truepeer_get_t)dlsym(RTLD_DEFAULT, "truepeer_get");
 *	struct truepeer_info info = {.size = sizeof info};
 *	if (get && !get(fd, &info))
 *		...
 */
#ifndef TRUEPEER_H
#define TRUEPEER_H

#include <stddef.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the addresses stand for; more may come. */
enum truepeer_kind {
	TRUEPEER_DIRECT = 0,  /* no header was read: the client is who connected */
	TRUEPEER_LOCAL = 1,   /* from a trusted source, but it names no client */
	TRUEPEER_PROXIED = 2, /* the client is the one that the header names */
};

/*
 * IPv4 addresses are AF_INET on all sockets, never mapped into IPv6. An address that is
 * not known has ss_family AF_UNSPEC.
 */
struct truepeer_info {
	size_t size; /* in: sizeof(struct truepeer_info); out: how much of it was filled
		      */
	int kind;    /* enum truepeer_kind */
	/* An IPv6 client is IPv6 here also where accept and getpeername say otherwise. */
	struct sockaddr_storage client;
	struct sockaddr_storage sender; /* who connected to us: the balancer */
	/*
	 * PROXIED: where the client connected to, as the header says. IPv6 only with
	 * TRUEPEER_SOCKNAME=header, and in the process that read the header.
	 */
	struct sockaddr_storage destination;
};

/*
 * Fills *info for the connected socket fd. Later versions of this file may add members at
 * the end; a program and a library of different versions fill what both of them know.
 *
 * Returns 0, or -1 with errno: EINVAL when size is smaller than the first version's, or
 * as getpeername(2) sets it (EBADF, ENOTSOCK, ENOTCONN). errno is kept on success. Safe
 * in threads and signal handlers; two system calls.
 */
int truepeer_get(int fd, struct truepeer_info *info);

typedef int (*truepeer_get_t)(int fd, struct truepeer_info *info);

#ifdef __cplusplus
}
#endif

#endif
