/* SPDX-License-Identifier: MIT */
/*
 * The TRUEPEER_ variables as they were when the library was loaded.
 *
 * They are copied then, because many daemons clear or overwrite their environment (exim,
 * sendmail, setproctitle) before they listen.
 */
#ifndef TP_ENVIRON_H
#define TP_ENVIRON_H

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

#endif
