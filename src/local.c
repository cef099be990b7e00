/* SPDX-License-Identifier: MIT */
#include "local.h"

#include <string.h>

#include "real.h"

struct tp_addr tp_local_addr(int fd)
{
	union tp_sockaddr local = {0};
	socklen_t len = sizeof local;
	if (tp_real()->getsockname(fd, &local.any, &len))
		local.any.sa_family = AF_UNSPEC;
	return tp_addr_from_kernel(&local);
}

size_t tp_local_path(int fd, char path[TP_LOCAL_PATH])
{
	union {
		struct sockaddr any;
		struct sockaddr_un un;
	} local;
	socklen_t len = sizeof local;
	if (tp_real()->getsockname(fd, &local.any, &len) ||
	    len <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	/* The kernel counts a NUL behind the longest one, too, which has no room here. */
	if (len > sizeof local.un)
		len = sizeof local.un;
	size_t size =
		strnlen(local.un.sun_path, len - offsetof(struct sockaddr_un, sun_path));
	memcpy(path, local.un.sun_path, size);
	return size;
}
