/* SPDX-License-Identifier: MIT */
/*
 * Whether the library stays out of this process altogether: what it stands in front of
 * goes straight through, and nothing is read, kept or logged.
 *
 * It does where TRUEPEER_PROGRAMS does not name the program, and where another copy of
 * the library stands before this one and does the work: a header is read once.
 */
#ifndef TP_INERT_H
#define TP_INERT_H

#include <stdbool.h>

/*
 * Decided by the first call, which the constructor makes; later ones are one atomic load.
 * errno is kept.
 */
bool tp_is_inert(void);

#endif
