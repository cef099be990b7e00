/* SPDX-License-Identifier: MIT */
/* Whether the program may have a connection: judge its sender, read its header. */
#ifndef TP_ADMIT_H
#define TP_ADMIT_H

#include <stdbool.h>

#include "connection.h"
#include "outcome.h"
#include "policy.h"

enum tp_admission {
	TP_ADMITTED, /* connection->peer is what to report, and is kept on the socket */
	TP_REFUSED,  /* logged, counted; the caller resets it */
	TP_WAITING,  /* its header is not complete: deadline_ms, seen and need are set */
};

/* What became of a connection since it was last looked at. */
struct tp_news {
	bool ended;   /* its sender has closed or reset it: nothing more will come */
	bool expired; /* its time is over */
};

/*
 * A connection the kernel has just handed out for the listener (-1: some other way); fd,
 * sender and sender_len are set. Does not wait, unless the policy has no room for waiting
 * (max_pending 0) or it is to be done on_the_spot. Safe in threads and signal handlers;
 * errno is not kept.
 */
enum tp_admission tp_admit(const struct tp_policy *policy, int listener,
			   struct tp_connection *connection);

/* The same for one that was WAITING; never WAITING again when it has ended or expired. */
enum tp_admission tp_admit_again(const struct tp_policy *policy,
				 struct tp_connection *connection, struct tp_news news);

/*
 * Whether a WAITING one can only be refused: its time is over, and what it needs has not
 * come (SO_RCVLOWAT is set to that).
 */
bool tp_admit_is_late(const struct tp_connection *connection);

/*
 * For a connection that was WAITING in another process: finds what applies to it here,
 * and what its headers said so far. False when it has to be reset.
 */
bool tp_admit_resume(const struct tp_policy *policy, struct tp_connection *connection);

/* Ends a refused connection with a reset, whoever else holds its descriptor, and closes
 * it. */
void tp_admit_reset(int fd);

/* Refuses one for a reason that has nothing to do with its header, and ends it so. */
void tp_admit_turn_away(const struct tp_connection *connection, enum tp_reason reason);

/* The same as tp_admit_reset, but leaves the descriptor open: it has no peer, and reads
 * as reset and then as ended. */
void tp_admit_end(int fd);

/* Only TCP carries PROXY headers; SCTP, SMC and the like are none of our business. A
 * socket whose protocol the kernel does not tell may be TCP. */
bool tp_admit_is_tcp(int fd);

#endif
