/* SPDX-License-Identifier: MIT */
/* Why the client's address is still the balancer's: the examinations of truepeer doctor.
 */
#ifndef TP_DIAGNOSIS_H
#define TP_DIAGNOSIS_H

#include "findings.h"
#include "library.h"
#include "process.h"
#include "sockets.h"

/* What all examinations see. */
struct tp_diagnosis {
	const struct tp_library *library;
	const struct tp_sockets *sockets;
	struct tp_findings *findings;
};

/* Of a running process. */
void tp_diagnose_process(const struct tp_diagnosis *diagnosis,
			 const struct tp_process *process);

/* Of a command that is not running, with the variables that it would get. */
void tp_diagnose_command(const struct tp_diagnosis *diagnosis, char *const *command,
			 const char *const *variables);

#endif
