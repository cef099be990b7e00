/* SPDX-License-Identifier: MIT */
/*
 * Passing parked connections on, through the channel (share.h) of their listener.
 *
 * All functions are safe in threads and forked children, use no lock, and do not wait.
 * The caller has disabled cancellation. errno is not kept.
 */
#ifndef TP_PASS_H
#define TP_PASS_H

#include "policy.h"

/* Puts the listener's parked connections into its channel, for whichever process waits
 * next; false if some had to stay. */
bool tp_pass_on(const struct tp_policy *policy, int listener);

/* Parks all that are in there, or so many times TP_PASSED_MAX at most; false if there was
 * none. Sets that hold the listener by a note hold the room then, too. */
bool tp_pass_gather(const struct tp_policy *policy, int listener, size_t batches);

#endif
