/* SPDX-License-Identifier: MIT */
/* Why the library is not in a process: the first of the examinations of truepeer doctor.
 */
#ifndef TP_ABSENCE_H
#define TP_ABSENCE_H

#include "diagnosis.h"

void tp_absence_explain(const struct tp_diagnosis *diagnosis,
			const struct tp_process *process);

#endif
