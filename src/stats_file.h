/* SPDX-License-Identifier: MIT */
/*
 * The counters as they lie in their file, which every process of a server has mapped.
 *
 * All numbers are in the machine's byte order, and lie at the same place for 32 and 64
 * bits. Any change of the layout, or of what a place means, changes the version.
 */
#ifndef TP_STATS_FILE_H
#define TP_STATS_FILE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "outcome.h"

#define TP_STATS_MAGIC "truepeer" /* 8 bytes, without the NUL */
#define TP_STATS_VERSION 1
#define TP_STATS_LISTENERS 64
#define TP_STATS_REASONS 32
#define TP_STATS_SECONDS 4096 /* a power of two; longer than any TRUEPEER_TIMEOUT */

/*
 * The upper ends of the classes that waiting times are counted in, milliseconds; one
 * more class holds what is above.
 */
#define TP_STATS_LIMITS                                                                  \
	1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000
#define TP_STATS_CLASSES 15

enum { TP_STATS_FREE, TP_STATS_TAKEN, TP_STATS_NAMED };

struct tp_stats_listener {
	/* NAMED: the name is there, for good. A process may die on the way from TAKEN. */
	_Atomic uint32_t state;
	uint16_t port;	/* host byte order */
	uint8_t family; /* 4 or 6 */
	uint8_t zero;
	uint8_t ip[16]; /* as bound; IPv4: the first four */
	_Atomic uint64_t connections[TP_OUTCOMES][TP_STATS_REASONS];
	_Atomic uint64_t waits[TP_STATS_CLASSES]; /* from accept to the header's end */
	_Atomic uint64_t waited_ms;		  /* their sum */
};

/* What tells a file of ours, and its version, by the first bytes alone. */
struct tp_stats_head {
	char magic[8];
	uint32_t version;
	uint32_t size; /* of the file, bytes */
};

struct tp_stats_file {
	struct tp_stats_head head;
	_Atomic uint64_t boot; /* of the kernel whose clock `parked` goes by */
	/*
	 * Parked connections by the second in which their time is over (CLOCK_MONOTONIC,
	 * modulo TP_STATS_SECONDS): that second above, 24 bits of count below. So nobody
	 * has to clean up after a process that dies: what it held is past in a moment.
	 */
	_Atomic uint64_t parked[TP_STATS_SECONDS];
	struct tp_stats_listener listeners[TP_STATS_LISTENERS + 1]; /* the last: others */
};

_Static_assert(sizeof(struct tp_stats_listener) == 1176,
	       "the layout is the same everywhere");
_Static_assert(offsetof(struct tp_stats_file, listeners) == 24 + 8 * TP_STATS_SECONDS,
	       "the layout is the same everywhere");
_Static_assert(TP_REASONS <= TP_STATS_REASONS, "there is room for all reasons");

#define TP_STATS_COUNT_BITS 24
#define TP_STATS_COUNT_MASK (((uint64_t)1 << TP_STATS_COUNT_BITS) - 1)

#endif
