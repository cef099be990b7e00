/* SPDX-License-Identifier: MIT */
/*
 * The life of a listener: from listen, or the program's start, through epoll sets and
 * forks, to close.
 */
#ifndef TP_LISTENER_H
#define TP_LISTENER_H

#include <stdbool.h>
#include <sys/epoll.h>

/* At the start of a program: which descriptors are listeners. errno is kept. */
void tp_listener_inherit(void);

/* listen(2); EINVAL on a TCP socket when there is a mistake in the settings. */
int tp_listener_listen(int fd, int backlog);

/* epoll_ctl(2); what is done with a listener is done with its rooms. */
int tp_listener_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);

/* Before fork: from now on other processes have the listeners, too. */
void tp_listener_fork(void);

/*
 * For a listener that other processes have, too (share.h): leaves the parked connections
 * to whoever waits, and takes them over for the time of a wait (true: there were some).
 * errno is kept.
 */
void tp_listener_share(int fd);
bool tp_listener_gather(int fd);

/*
 * The same for those few who are next, now and then: nobody else looks after them while
 * everybody is busy with new connections. Most calls look at the clock alone.
 */
bool tp_listener_gather_some(int fd);

/* The sets that hold the listener get to hold the door of its channel. Changes errno. */
void tp_listener_attach_door(int fd);

/* When the process ends, by exit(3), or the program, by exec: who is parked waits for the
 * others, or for the program's successor. */
void tp_listener_exit(void);
void tp_listener_exec(void);

/* close(2); what waits for a listener goes with it. */
int tp_listener_close(int fd);

#endif
