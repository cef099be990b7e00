/* SPDX-License-Identifier: MIT */
/* The policy of this process. */
#ifndef TP_POLICY_H
#define TP_POLICY_H

#include "rule.h"

/*
 * The first call reads the settings (environ.h, ruleset.h), opens the log and writes
 * what is wrong; later ones are one atomic load. Any number of threads, signal handlers
 * and forked children may be first at once: each reads, one wins. Never NULL; lives as
 * long as the process. errno is kept.
 */
const struct tp_policy *tp_policy_get(void);

#endif
