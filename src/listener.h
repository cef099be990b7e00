/* SPDX-License-Identifier: MIT */
/* What accept does: take a connection, have it judged, park it or hand it over. */
#ifndef TP_LISTENER_H
#define TP_LISTENER_H

#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* A call of accept or accept4, as the program made it. */
struct tp_accept {
	int fd;
	struct sockaddr *addr;
	socklen_t *len;
	bool four; /* accept4, with these flags */
	int flags;
};

/*
 * accept(2) with the client in the out-parameters. The program sees only connections
 * that the policy lets in; others are reset, those with an incomplete header parked, and
 * the next one is taken. Result, errno, out-parameters and cancellation as the kernel's.
 */
int tp_listener_accept(const struct tp_accept *call);

/*
 * Before poll or select reports a listener on which accept may sleep: whether accept has
 * a connection to hand out. `arrived`: the kernel says that there is one in its queue.
 */
bool tp_listener_prepare(int fd, bool arrived);

/*
 * For a listener that other processes have, too (share.h): leaves the parked connections
 * to whoever waits, and takes them over for the time of a wait. errno is kept.
 */
void tp_listener_share(int fd);
void tp_listener_gather(int fd);

/* At the start of a program: which descriptors are listeners. errno is kept. */
void tp_listener_inherit(void);

/* Before fork: from now on other processes have the listeners, too. */
void tp_listener_fork(void);

/* listen(2); EINVAL on a TCP socket when there is a mistake in the settings. */
int tp_listener_listen(int fd, int backlog);

/* getpeername(2) with the client; fails as the kernel's does. */
int tp_listener_getpeername(int fd, struct sockaddr *addr, socklen_t *len);

/*
 * getsockname(2) with the destination that the header named, on sockets whose record says
 * so; fails as the kernel's does.
 */
int tp_listener_getsockname(int fd, struct sockaddr *addr, socklen_t *len);

/* There may be such sockets in this process; else getsockname looks at none. */
void tp_listener_expect_destinations(bool expect);

/* epoll_ctl(2); what is done with a listener is done with its rooms. */
int tp_listener_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);

/* close(2); what waits for a listener goes with it. */
int tp_listener_close(int fd);

#endif
