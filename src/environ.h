/* SPDX-License-Identifier: MIT */
/*
 * The TRUEPEER_ variables as they were when the library was loaded.
 *
 * They are copied then, because many daemons clear or overwrite their environment (exim,
 * sendmail, setproctitle) before they listen.
 *
 * In secure execution (set-user-ID, set-group-ID, file capabilities; ld.so(8)) the
 * environment is the caller's word against the administrator's: there are no variables.
 */
#ifndef TP_ENVIRON_H
#define TP_ENVIRON_H

#include <stdbool.h>

#define TP_ENVIRON_PREFIX "TRUEPEER_"

/*
 * Copies the variables, once; later calls do nothing. One pass over the environment, and
 * one mmap when there is anything to copy. Safe in constructors, threads and signal
 * handlers; errno is kept.
 */
void tp_environ_capture(void);

/*
 * The copies, "TRUEPEER_NAME=value" each, ended by NULL, never NULL itself. Captures
 * first if nobody has. Lives as long as the process.
 */
const char *const *tp_environ(void);

/* Whether the variable is among them, by its name without the prefix, whatever its value.
 */
bool tp_environ_has(const char *name);

/* False in secure execution: then nothing in the environment may be believed. Pure. */
bool tp_environ_is_trusted(void);

/*
 * Whether somebody wanted the library in this very process: one of its variables is set,
 * or LD_PRELOAD named it when the process began. Not so where /etc/ld.so.preload brings
 * it into every program.
 */
bool tp_environ_asks(void);

#endif
