/* SPDX-License-Identifier: MIT */
/* The functions behind ours: libc's, or those of the next preloaded library. */
#ifndef TP_REAL_H
#define TP_REAL_H

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>

struct tp_real {
#define INTERPOSED(result, name, parameters) result(*name) parameters;
#include "interposed.def"
#undef INTERPOSED
};

/*
 * Never NULL, and none of its members is. The first call looks the functions up (dlsym
 * takes the loader's lock, so the constructor makes that call); later ones are one
 * atomic load. A function that nobody offers fails with ENOSYS.
 */
const struct tp_real *tp_real(void);

#endif
