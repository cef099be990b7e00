/* SPDX-License-Identifier: MIT */
/*
 * A blocking accept that sleeps where rooms can wake it.
 *
 * The kernel's own accept sleeps on the listener alone, and there is no accept that
 * does not sleep on a blocking listener. So once a connection is parked there, O_NONBLOCK
 * is set on it for good and accept sleeps in poll instead. All processes that share the
 * listener have to know that it is blocking in the program's eyes: a mark in the
 * listener's Fast Open key tells them, as the peer record does on connections. A key that
 * the program has set itself stays; there accept sleeps in the kernel.
 */
#ifndef TP_SLEEP_H
#define TP_SLEEP_H

#include <stdbool.h>
#include <stdint.h>

/* Safe in threads and forked children. */

/* Makes what others cannot guess of the mark, now rather than when it is needed: the
 * program may wipe what it is made of. False when it cannot be had. No system call. */
bool tp_sleep_make_mark(void);

/* Whether the program wants accept on this listener to sleep. */
bool tp_sleep_is_blocking(int listener);

/* Whether the kernel's accept would sleep there, as it is. */
bool tp_sleep_in_kernel(int listener);

/*
 * Whether the program wants it, after the kernel's accept has said EAGAIN: true when it
 * does not expect that. Costs nothing once the listener is known to be non-blocking.
 */
bool tp_sleep_is_due(int listener);

/* Makes the kernel's accept on a blocking listener say EAGAIN from now on; false, and
 * errno, when it cannot be done, or (EINVAL) the listener is not blocking. */
bool tp_sleep_emulate(int listener);

/*
 * The program may have made a listener blocking that was not, or not in the kernel's eyes:
 * makes accept say EAGAIN there again, if it has a room. One fcntl(2) where it still does.
 */
void tp_sleep_stay_awake(int listener);

/* When a sleep that begins now has to end (tp_clock_ns): SO_RCVTIMEO, or TP_NEVER. */
int64_t tp_sleep_deadline(int listener);

/*
 * A mark for this thread: a set, or poll or select for a listener, has just woken it. A
 * program that polled the listener alone may as well sleep in accept.
 */
void tp_sleep_note_poll(bool alone);
void tp_sleep_note_epoll(int epfd);

/* Whether such a wait has ever woken this thread. */
bool tp_sleep_has_waited(void);

/* The mark, which is gone then; and whether it says that a listener's news woke us. */
int tp_sleep_take_mark(void);
bool tp_sleep_was_woken(int mark);

/*
 * Sleeps until there may be something to accept. False with errno EINTR for a signal
 * that accept would have been interrupted by, EAGAIN at the deadline, or the error of
 * the listener. A cancellation point.
 */
bool tp_sleep(int listener, int64_t deadline_ns);

#endif
