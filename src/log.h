/* SPDX-License-Identifier: MIT */
/*
 * What happened, a line each, where the administrator wants it.
 *
 * The library is a guest: a line is written with one system call and no wait (it is
 * dropped where it would have to wait), never to a descriptor that the host program has
 * put to other use, and never with SIGPIPE.
 */
#ifndef TP_LOG_H
#define TP_LOG_H

#include <stdbool.h>

#include "policy.h"
#include "text.h"

/* All are safe in threads and forked children, use no lock, and keep errno. */

/*
 * Opens the target. Once per process, before chroot and the like if possible; where it
 * cannot be opened, standard error serves and a warning is written.
 */
void tp_log_open(const struct tp_log_settings *settings);

/* Whether lines of this level are wanted. */
bool tp_log_wants(enum tp_log_level level);

/*
 * Writes "truepeer[PID]: TEXT". Warnings come from strangers' doings and are limited in
 * number: 20 at once, then one a second; the next line tells how many were left out.
 */
void tp_log(enum tp_log_level level, const struct tp_text *text);

/* The same for a mistake in the settings: also with the target `none`, never left out. */
void tp_log_mistake(const struct tp_text *text);

#endif
