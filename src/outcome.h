/* SPDX-License-Identifier: MIT */
/* What a connection can become, and why. */
#ifndef TP_OUTCOME_H
#define TP_OUTCOME_H

enum tp_outcome {
	TP_OUTCOME_PROXIED,   /* served as the client that the header names */
	TP_OUTCOME_LOCAL,     /* trusted, served under the sender's own address */
	TP_OUTCOME_UNTRUSTED, /* not trusted, served untouched */
	TP_OUTCOME_REJECTED,  /* reset */
	TP_OUTCOMES,
};

enum tp_reason {
#define REASON(name, label, level, outcomes, words) TP_REASON_##name,
#include "reasons.def"
#undef REASON
	TP_REASONS,
};

#endif
