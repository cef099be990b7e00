/* SPDX-License-Identifier: MIT */
/*
 * Whose this memory is.
 *
 * A child of fork has copies of its parent's descriptors, and copies of what is known of
 * them; a child of vfork looks at its parent's memory itself. Handlers of fork are not
 * called for a bare clone(2), so the process leaves its pid on a page that children find
 * empty.
 *
 * All functions are safe in threads, signal handlers and children. errno is not kept.
 */
#ifndef TP_OWNER_H
#define TP_OWNER_H

#include <stdbool.h>

/* From now on children are known: the process has something that they could spoil. */
void tp_owner_mark(void);

/* Whether this is a child whose copies are still to be given up; and: that is done. */
bool tp_owner_is_copy(void);
void tp_owner_settle(void);

/* Whether this is a child of vfork, which runs on its parent's memory. */
bool tp_owner_is_borrowed(void);

#endif
