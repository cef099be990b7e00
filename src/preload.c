/* SPDX-License-Identifier: MIT */
/* The interposed functions, and nothing else. */
#include <sys/socket.h>

#include "environ.h"
#include "listener.h"
#include "real.h"

#define EXPORT __attribute__((visibility("default")))

/*
 * Start-up. Any function below may run before this: constructors of other libraries call
 * libc, too. So each step can also be the first use's.
 *
 *   load            the variables are copied, the functions behind ours looked up
 *   first listen,   the settings are read, the log is opened
 *   first accept
 */
__attribute__((constructor)) static void load(void)
{
	tp_environ_capture();
	tp_real();
}

EXPORT int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return tp_listener_accept(&(struct tp_accept){fd, addr, len, false, 0});
}

EXPORT int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return tp_listener_accept(&(struct tp_accept){fd, addr, len, true, flags});
}

EXPORT int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	return tp_listener_getpeername(fd, addr, len);
}

EXPORT int listen(int fd, int backlog)
{
	return tp_listener_listen(fd, backlog);
}
