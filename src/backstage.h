/* SPDX-License-Identifier: MIT */
/* A bracket around work which the program shall not notice. */
#ifndef TP_BACKSTAGE_H
#define TP_BACKSTAGE_H

#include <errno.h>
#include <pthread.h>

#include "park.h"

struct tp_backstage {
	int saved, cancel_state;
};

/* Keeps errno and cancellation; in a child of a bare clone(2) its copies go first. */
static inline struct tp_backstage tp_backstage_enter(void)
{
	struct tp_backstage stage = {.saved = errno};
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &stage.cancel_state);
	tp_park_settle();
	return stage;
}

static inline void tp_backstage_leave(struct tp_backstage stage)
{
	pthread_setcancelstate(stage.cancel_state, NULL);
	errno = stage.saved;
}

#endif
