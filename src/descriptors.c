/* SPDX-License-Identifier: MIT */
#include "descriptors.h"

#include "real.h"

#define AT_ONCE ((int)(sizeof((struct tp_descriptors *)0)->fds / sizeof(struct pollfd)))

static void look(struct tp_descriptors *all)
{
	int left = all->end - all->next, count = left < AT_ONCE ? left : AT_ONCE;
	all->looked_from = all->next;
	all->looked_to = all->next + count;
	for (int i = 0; i < count; i++)
		all->fds[i] = (struct pollfd){.fd = all->next + i};
	tp_real()->poll(all->fds, (nfds_t)count, 0);
}

int tp_descriptors_next(struct tp_descriptors *all)
{
	for (; all->next < all->end; all->next++) {
		if (all->next >= all->looked_to)
			look(all);
		if (!(all->fds[all->next - all->looked_from].revents & POLLNVAL))
			return all->next++;
	}
	return -1;
}
