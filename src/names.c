/* SPDX-License-Identifier: MIT */
#include "names.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "environ.h"
#include "inert.h"
#include "peer.h"
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
bool tp_names_believe(const union tp_sockaddr *sender)
{
	const struct tp_addr addr = tp_addr_from_kernel(sender);
	struct tp_match match;
	if (tp_environ_is_trusted() || addr.family == AF_UNSPEC)
		return true;
	const struct tp_policy *policy = tp_policy_get();
	tp_policy_match(policy, &addr, NULL, &match);
	return policy->state == TP_POLICY_ON && match.trusted;
}

int tp_names_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct tp_peer peer;
	union tp_sockaddr kernel;
	socklen_t kernel_len = sizeof kernel;
	if (tp_is_inert() || !tp_peer_get(fd, &peer) || peer.client.family == AF_UNSPEC)
		return tp_real()->getpeername(fd, addr, len);
	if (tp_real()->getpeername(fd, &kernel.any, &kernel_len))
		return -1;
	if (!tp_names_believe(&kernel))
		return tp_names_copy(&kernel, kernel_len, addr, len);
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
	    !tp_peer_get(fd, &peer) || !peer.tells_destination)
		return tp_real()->getsockname(fd, addr, len);
	if (tp_real()->getsockname(fd, &kernel.any, &kernel_len))
		return -1;
	socklen_t told =
		tp_peer_destination_to_kernel(&peer, kernel.any.sa_family, room, &kernel);
	return tp_names_copy(&kernel, told ? told : kernel_len, addr, len);
}
