/* SPDX-License-Identifier: MIT */
/*
 * A fault injector: no socket has a slot for the peer record. Preloaded behind
 * the library, it makes setsockopt refuse the Fast Open key, as MPTCP sockets
 * and old kernels do.
 */
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#ifndef TCP_FASTOPEN_KEY
#define TCP_FASTOPEN_KEY 33
#endif

typedef int setsockopt_function(int, int, int, const void *, socklen_t);

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	void *symbol = dlsym(RTLD_NEXT, "setsockopt");
	setsockopt_function *real;

	if (level == IPPROTO_TCP && name == TCP_FASTOPEN_KEY) {
		errno = ENOPROTOOPT;
		return -1;
	}
	memcpy(&real, &symbol, sizeof(real));
	return real(fd, level, name, value, size);
}
