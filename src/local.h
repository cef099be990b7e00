/* SPDX-License-Identifier: MIT */
/* The local end of a socket. */
#ifndef TP_LOCAL_H
#define TP_LOCAL_H

#include <stddef.h>
#include <sys/un.h>

#include "addr.h"

/* Safe in threads and signal handlers; errno is not kept. */

/* Its address, as the kernel has it; AF_UNSPEC when it has none. */
struct tp_addr tp_local_addr(int fd);

#define TP_LOCAL_PATH sizeof(((struct sockaddr_un *)0)->sun_path)

/* The length of an AF_UNIX socket's path; 0 when it has none, as abstract ones. */
size_t tp_local_path(int fd, char path[TP_LOCAL_PATH]);

#endif
