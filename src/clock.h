/* SPDX-License-Identifier: MIT */
/* Time. */
#ifndef TP_CLOCK_H
#define TP_CLOCK_H

#include <limits.h>
#include <stdint.h>
#include <time.h>

#define TP_NEVER INT64_MAX

/* CLOCK_MONOTONIC in nanoseconds; no system call where the vDSO works, 0 where it is denied.
 */
static inline int64_t tp_clock_ns(void)
{
	struct timespec now = {0};
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The same in milliseconds. */
static inline int64_t tp_clock_ms(void)
{
	return tp_clock_ns() / 1000000;
}

static inline struct timespec tp_clock_timespec(int64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
				 .tv_nsec = (long)(ns % 1000000000)};
}

/* tp_clock_ns in so many nanoseconds, or TP_NEVER. */
static inline int64_t tp_clock_deadline(int64_t ns)
{
	int64_t now = tp_clock_ns();
	return ns > TP_NEVER - now ? TP_NEVER : now + ns;
}

/* The same for the timeout of a wait; NULL is never. */
static inline int64_t tp_clock_deadline_of(const struct timespec *timeout)
{
	if (!timeout || timeout->tv_sec > INT_MAX)
		return TP_NEVER;
	return tp_clock_deadline((int64_t)timeout->tv_sec * 1000000000 +
				 timeout->tv_nsec);
}

#endif
