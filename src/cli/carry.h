/* SPDX-License-Identifier: MIT */
/* Standard input to a connection, and the connection to standard output. */
#ifndef TP_CARRY_H
#define TP_CARRY_H

/*
 * Carries both ways until both have ended: the end of standard input is passed on as a
 * half close, and what the other end goes on sending is still written. Where standard
 * input is a terminal, the end of the connection is the end of all. The socket may be
 * blocking; it stays open. Returns the exit status; errors are told under `name`.
 */
int tp_carry(const char *name, int socket);

#endif
