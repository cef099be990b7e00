/* SPDX-License-Identifier: MIT */
/* The settings as the library would read them: all that the command asks of them. */
#ifndef TP_SETTINGS_H
#define TP_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"

struct tp_settings;

#define TP_SETTINGS_PREFIX "TRUEPEER_"

/* The name of the i-th variable, NULL behind the last. */
const char *tp_settings_variable(size_t i);

/*
 * Reads the TRUEPEER_ variables in `variables` ("NAME=value", ended by NULL; others are
 * not looked at). Each mistake is told, as one line without a newline. NULL without
 * memory; the caller frees. The variables must outlive it.
 */
struct tp_settings *tp_settings_read(const char *const *variables,
				     void (*tell)(void *context, const char *mistake),
				     void *context);
void tp_settings_free(struct tp_settings *settings);

/* Whether some source is trusted. */
bool tp_settings_trust_somebody(const struct tp_settings *settings);

/*
 * What leaves the program with these names (ended by NULL) out: "TRUEPEER_PROGRAMS", or
 * the path of the rules file, where "programs" does; NULL: nothing. The variables are
 * those that the settings were read from.
 */
const char *tp_settings_leave_out(const struct tp_settings *settings,
				  const char *const *variables, const char *const *names);

/* Whether connections that somebody else accepted are to be read. */
bool tp_settings_inherit(const struct tp_settings *settings);

/* Whether AF_UNIX listeners are trusted. */
bool tp_settings_trust_unix(const struct tp_settings *settings);

/* Whether a connection from this sender with this local address may bring a header. */
bool tp_settings_trust(const struct tp_settings *settings, const struct tp_addr *sender,
		       const struct tp_addr *local);

/* Whether such a connection has to bring one. */
bool tp_settings_require(const struct tp_settings *settings, const struct tp_addr *sender,
			 const struct tp_addr *local);

/* Whether a listener bound to this address is in scope. */
bool tp_settings_listen(const struct tp_settings *settings, const struct tp_addr *bound);

#endif
