/* SPDX-License-Identifier: MIT */
#include "names.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "environ.h"
#include "inert.h"
#include "policy.h"
#include "real.h"

int tp_names_copy(const union tp_sockaddr *kernel, socklen_t kernel_len,
		  struct sockaddr *addr, socklen_t *len)
{
	if (!addr || !len) {
		errno = EFAULT;
		return -1;
	}
	if ((int)*len < 0) {
		errno = EINVAL;
		return -1;
	}
	memcpy(addr, kernel, *len < kernel_len ? *len : kernel_len);
	*len = kernel_len;
	return 0;
}

/* AF_UNIX has no records but the process's own. */
static bool is_sender_trusted(int fd)
{
	const struct tp_policy *policy = tp_policy_get();
	union tp_sockaddr kernel;
	socklen_t kernel_len = sizeof kernel;
	struct tp_match match;
	int saved = errno;
	if (tp_real()->getpeername(fd, &kernel.any, &kernel_len)) {
		errno = saved;
		return false;
	}
	const struct tp_addr sender = tp_addr_from_kernel(&kernel);
	if (sender.family == AF_UNSPEC)
		return true;
	tp_policy_match(policy, &sender, NULL, &match);
	return policy->state == TP_POLICY_ON && match.trusted;
}

bool tp_names_find(int fd, struct tp_peer *peer)
{
	return tp_peer_get(fd, peer) && (tp_environ_is_trusted() || is_sender_trusted(fd));
}

int tp_names_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct tp_peer peer;
	union tp_sockaddr kernel;
	socklen_t kernel_len = sizeof kernel;
	if (tp_is_inert() || !tp_names_find(fd, &peer) || peer.client.family == AF_UNSPEC)
		return tp_real()->getpeername(fd, addr, len);
	if (tp_real()->getpeername(fd, &kernel.any, &kernel_len))
		return -1;
	kernel_len =
		tp_peer_to_kernel(&peer, kernel.any.sa_family, len ? *len : 0, &kernel);
	return tp_names_copy(&kernel, kernel_len, addr, len);
}

static atomic_bool destinations_expected;

void tp_names_expect_destinations(bool expect)
{
	atomic_store(&destinations_expected, expect);
}

int tp_names_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct tp_peer peer;
	union tp_sockaddr kernel;
	socklen_t kernel_len = sizeof kernel, room = len ? *len : 0;
	if (!atomic_load_explicit(&destinations_expected, memory_order_relaxed) ||
	    !tp_names_find(fd, &peer) || !peer.tells_destination)
		return tp_real()->getsockname(fd, addr, len);
	if (tp_real()->getsockname(fd, &kernel.any, &kernel_len))
		return -1;
	socklen_t told =
		tp_peer_destination_to_kernel(&peer, kernel.any.sa_family, room, &kernel);
	return tp_names_copy(&kernel, told ? told : kernel_len, addr, len);
}
