/* SPDX-License-Identifier: MIT */
/*
 * Time stands still unless a test moves it on, and timers go by it. The test is linked
 * with --wrap=clock_gettime,--wrap=timerfd_settime.
 */
#ifndef FAKE_CLOCK_H
#define FAKE_CLOCK_H

#include <sys/timerfd.h>
#include <time.h>

#include "clock.h"
#include "unit.h"

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *at,
			   struct itimerspec *before);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at,
			   struct itimerspec *before);

static int64_t fake_now_ns = (int64_t)1000000 * 1000000000;

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, now);
	*now = tp_clock_timespec(fake_now_ns);
	return 0;
}

/* What each timer is set to, by its descriptor. */
static struct itimerspec fake_alarms[8192];

/* The kernel's timer has gone off, or never will. */
static int fake_alarm_apply(int fd)
{
	const struct itimerspec *alarm = &fake_alarms[fd];
	const struct timespec at = alarm->it_value;
	bool due = (int64_t)at.tv_sec * 1000000000 + at.tv_nsec <= fake_now_ns;
	struct itimerspec set = {alarm->it_interval, {.tv_sec = due ? 0 : INT32_MAX}};
	set.it_value.tv_nsec = 1;
	return __real_timerfd_settime(fd, TFD_TIMER_ABSTIME, &set, NULL);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at,
			   struct itimerspec *before)
{
	ck_assert_int_eq(flags, TFD_TIMER_ABSTIME);
	ck_assert_ptr_null(before);
	ck_assert_int_lt(fd, (int)COUNT(fake_alarms));
	if (fd < 0)
		return -1;
	fake_alarms[fd] = *at;
	return fake_alarm_apply(fd);
}

/* Only timers that are still the same go off. */
static inline void advance(int64_t ms)
{
	fake_now_ns += ms * 1000000;
	for (int fd = 0; fd < (int)COUNT(fake_alarms); fd++) {
		struct itimerspec now;
		if (fake_alarms[fd].it_interval.tv_sec && !timerfd_gettime(fd, &now) &&
		    !memcmp(&now.it_interval, &fake_alarms[fd].it_interval,
			    sizeof now.it_interval))
			fake_alarm_apply(fd);
	}
}

#endif
