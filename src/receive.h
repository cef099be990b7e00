/* SPDX-License-Identifier: MIT */
/* One connection's header: look at what has come, ask the parser, consume exactly the
 * header. */
#ifndef TP_RECEIVE_H
#define TP_RECEIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "header.h"

enum tp_received {
	TP_RECEIVED_HEADER, /* complete, valid, and consumed */
	TP_RECEIVED_MORE,   /* not all of it is there yet */
	TP_RECEIVED_NONE,   /* the bytes do not begin a header; nothing was consumed */
	TP_RECEIVED_BAD,    /* they begin one that is not valid; nothing was consumed */
	TP_RECEIVED_END,    /* the sender closed or reset, and no byte is there */
	TP_RECEIVED_FAILED, /* the kernel refused something; errno says what */
};

/* Holds nearly every header there is, and fits the stack of any thread. */
#define TP_USUAL_HEADER 2048

struct tp_reception {
	struct tp_header header; /* HEADER: as parsed; its pointers lead into `bytes` */
	size_t seen;		 /* bytes that were there */
	size_t need;		 /* MORE: bytes with which it is worth looking again */
	const char *reason;	 /* BAD: static text */
	uint8_t bytes[TP_USUAL_HEADER]; /* the first of those that were seen */
};

/*
 * Looks once, without waiting, at the connected stream socket fd.  Not one byte behind
 * the header is taken. Two system calls for a header that has arrived; one mmap more for
 * one above 2 KiB, whose TLVs and paths are then cut short. Safe in threads and signal
 * handlers.
 */
enum tp_received tp_receive(int fd, const struct tp_header_limits *limits,
			    struct tp_reception *reception);

#endif
