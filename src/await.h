/* SPDX-License-Identifier: MIT */
/* Waiting for one connection's header on the spot. */
#ifndef TP_AWAIT_H
#define TP_AWAIT_H

#include "receive.h"

/*
 * Waits until the header of connection fd is complete, or until it is clear that it will
 * not be, for timeout_ms milliseconds at the most. *reception is what tp_receive left
 * when it said MORE. Returns as tp_receive does; MORE means that the time is over, END
 * that the sender ended within the header. The socket's options are as they were. Safe in
 * threads; not a cancellation point if the caller has disabled cancellation. errno is not
 * kept.
 */
enum tp_received tp_await(int fd, const struct tp_header_limits *limits,
			  uint32_t timeout_ms, struct tp_reception *reception);

#endif
