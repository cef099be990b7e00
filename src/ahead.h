/* SPDX-License-Identifier: MIT */
/* Ahead of accept: poll and select have to be sure before they report a listener. */
#ifndef TP_AHEAD_H
#define TP_AHEAD_H

#include <stdbool.h>

/*
 * Before poll or select reports a listener on which accept may sleep: whether accept has
 * a connection to hand out. `arrived`: the kernel says that there is one in its queue.
 */
bool tp_ahead_prepare(int listener, bool arrived);

#endif
