/* SPDX-License-Identifier: MIT */
/* An address with its port, from the command line. */
#ifndef TP_ENDPOINT_H
#define TP_ENDPOINT_H

#include <stdbool.h>

#include "addr.h"

/* Reads exactly "192.0.2.1:25" or "[2001:db8::1]:25". On false addr is unchanged. Pure.
 */
bool tp_endpoint_parse(const char *text, struct tp_addr *addr);

/* Reads a decimal number from 0 to max, digits alone. Pure. */
bool tp_number_parse(const char *text, unsigned long max, unsigned long *number);

#endif
