/* SPDX-License-Identifier: MIT */
#include "truepeer.h"

#include <errno.h>
#include <string.h>

#include "names.h"
#include "peer.h"
#include "real.h"

/* The members of the first version. */
#define LEAST                                                                            \
	(offsetof(struct truepeer_info, destination) + sizeof(struct sockaddr_storage))

static void put(struct sockaddr_storage *to, struct tp_addr addr)
{
	union tp_sockaddr kernel = {0};
	addr = tp_addr_unmap(addr);
	tp_addr_to_kernel(&addr, addr.family, &kernel);
	*to = kernel.storage;
}

static void fill(struct truepeer_info *info, const struct tp_addr *sender,
		 const struct tp_peer *peer)
{
	bool proxied = peer->client.family != AF_UNSPEC;
	info->kind = proxied ? TRUEPEER_PROXIED : TRUEPEER_LOCAL;
	put(&info->client, proxied ? peer->client : *sender);
	put(&info->sender, *sender);
	put(&info->destination, peer->destination);
}

__attribute__((visibility("default"))) int truepeer_get(int fd,
							struct truepeer_info *info)
{
	struct truepeer_info known = {0};
	struct tp_peer peer = {0};
	union tp_sockaddr kernel = {0};
	socklen_t len = sizeof kernel;
	if (info->size < LEAST) {
		errno = EINVAL;
		return -1;
	}
	if (tp_real()->getpeername(fd, &kernel.any, &len))
		return -1;
	struct tp_addr sender = tp_addr_from_kernel(&kernel);
	bool found = tp_names_find(fd, &peer);
	fill(&known, &sender, found ? &peer : &(struct tp_peer){0});
	if (!found)
		known.kind = TRUEPEER_DIRECT;
	known.size = info->size < sizeof known ? info->size : sizeof known;
	memcpy(info, &known, known.size);
	return 0;
}
