/* SPDX-License-Identifier: MIT */
/* Why the library is not in a process: the first of the examinations of truepeer doctor.
 */
#ifndef TP_ABSENCE_H
#define TP_ABSENCE_H

#include "diagnosis.h"

/* What to do about a program that gains privileges when it starts. */
extern const char tp_absence_gain_nothing[];

void tp_absence_explain(const struct tp_diagnosis *diagnosis,
			const struct tp_process *process);

#endif
