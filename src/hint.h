/* SPDX-License-Identifier: MIT */
/* What the first bytes of a connection give away where a header should be. */
#ifndef TP_HINT_H
#define TP_HINT_H

#include <stddef.h>
#include <stdint.h>

/* A few words for the log, static text, or NULL when the bytes tell nothing. Pure. */
const char *tp_hint(const uint8_t *bytes, size_t len);

#endif
