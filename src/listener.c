/* SPDX-License-Identifier: MIT */
#include "listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "peer.h"
#include "policy.h"
#include "real.h"
#include "receive.h"
#include "room.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* A connection on its way to the program. */
struct connection {
	int fd;
	union tp_sockaddr sender; /* as the kernel reports it */
	socklen_t sender_len;
	struct tp_peer peer; /* what the header said; AF_UNSPEC: the sender itself */
};

/* Gives the caller an address the way the kernel does: cut to the room, the full length told. */
static int copy_out(const union tp_sockaddr *kernel, socklen_t kernel_len,
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

/* Only TCP carries PROXY headers; SCTP, SMC and the like are none of our business. */
static bool is_tcp(int fd)
{
	int protocol;
	socklen_t size = sizeof protocol;
	return !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) &&
	       (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

static struct tp_addr local_address(int fd)
{
	union tp_sockaddr local = {0};
	socklen_t len = sizeof local;
	if (getsockname(fd, &local.any, &len))
		local.any.sa_family = AF_UNSPEC;
	return tp_addr_from_kernel(&local);
}

static void put_sender(struct tp_text *text, const struct connection *connection)
{
	struct tp_addr sender = tp_addr_unmap(tp_addr_from_kernel(&connection->sender));
	tp_text_put_addr(text, &sender);
}

/* Always false, for `return refuse(...)`: the connection is not let in. */
static bool refuse(const struct connection *connection, enum tp_log_level level,
		   const char *reason, const struct tp_reception *reception)
{
	if (!tp_log_wants(level))
		return false;
	struct tp_text text = {0};
	struct tp_addr local = tp_addr_unmap(local_address(connection->fd));
	tp_text_put(&text, "refused ");
	put_sender(&text, connection);
	tp_text_put(&text, " on ");
	tp_text_put_addr(&text, &local);
	tp_text_put(&text, ": ");
	tp_text_put(&text, reason);
	if (reception && reception->sample_len) {
		tp_text_put(&text, "; it begins ");
		tp_text_put_quoted(&text, reception->sample, reception->sample_len);
	}
	tp_log(level, &text);
	return false;
}

static void tell_client(const struct connection *connection)
{
	if (!tp_log_wants(TP_LOG_INFO))
		return;
	struct tp_text text = {0};
	tp_text_put(&text, "client ");
	tp_text_put_addr(&text, &connection->peer.client);
	tp_text_put(&text, " by way of ");
	put_sender(&text, connection);
	tp_log(TP_LOG_INFO, &text);
}

/* Once for each pair, as long as not too many others come between. */
static void tell_pseudo(const struct connection *connection)
{
	static _Atomic uint32_t told[1024];
	struct tp_text text = {0};
	struct tp_addr pseudo = tp_peer_pseudo(&connection->peer.client);
	uint32_t number;
	memcpy(&number, pseudo.ip, sizeof number);
	if (atomic_exchange(&told[ntohl(number) % 1024], number) == number)
		return;
	tp_text_put(&text, "client ");
	tp_text_put_addr(&text, &connection->peer.client);
	tp_text_put(&text, " is reported as ");
	tp_text_put_addr(&text, &pseudo);
	tp_text_put(&text, ", as the listener is IPv4 only; let it listen on [::]");
	tp_log(TP_LOG_WARNING, &text);
}

static bool keep_peer(const struct connection *connection)
{
	return tp_peer_put(connection->fd, &connection->peer) ||
	       refuse(connection, TP_LOG_ERROR, "no place to keep the client's address", NULL);
}

/* Its own address is reported; the record says that there is no header to be read any more. */
static bool admit_sender(struct connection *connection)
{
	connection->peer = (struct tp_peer){0};
	return keep_peer(connection);
}

static bool admit_client(const struct tp_rule *rule, struct connection *connection,
			 const struct tp_header *header)
{
	struct tp_peer *peer = &connection->peer;
	peer->client = tp_addr_unmap(header->src);
	peer->destination = tp_addr_unmap(header->dst);
	bool foreign = peer->client.family == AF_INET6 &&
		       connection->sender.any.sa_family == AF_INET;
	if (foreign && rule->ipv6 == TP_IPV6_REJECT)
		return refuse(connection, TP_LOG_WARNING, "IPv6 client on an IPv4 listener", NULL);
	if (foreign && rule->ipv6 == TP_IPV6_KEEP)
		return admit_sender(connection);
	if (foreign && rule->ipv6 == TP_IPV6_REPORT)
		peer->report = TP_PEER_IPV6;
	if (foreign && rule->ipv6 == TP_IPV6_PSEUDO)
		tell_pseudo(connection);
	tell_client(connection);
	return keep_peer(connection);
}

static bool admit_header(const struct tp_rule *rule, struct connection *connection,
			 const struct tp_header *header)
{
	if (!rule->versions[header->version])
		return refuse(connection, TP_LOG_WARNING,
			      header->version == 1 ? "version 1 is not allowed"
						   : "version 2 is not allowed",
			      NULL);
	return tp_header_names_client(header) ? admit_client(rule, connection, header)
					      : admit_sender(connection);
}

static bool admit_without_header(const struct tp_rule *rule, struct connection *connection,
				 enum tp_log_level level, const char *reason,
				 const struct tp_reception *reception)
{
	return rule->header_optional ? admit_sender(connection)
				     : refuse(connection, level, reason, reception);
}

static bool read_header(const struct tp_rule *rule, struct connection *connection)
{
	struct tp_reception reception;
	enum tp_received received = tp_receive(connection->fd, rule->max_header, &reception);
	if (received == TP_RECEIVED_HEADER)
		return admit_header(rule, connection, &reception.header);
	if (!is_tcp(connection->fd))
		return true;
	if (received == TP_RECEIVED_MORE)
		received = tp_room_wait(connection->fd, rule->max_header, rule->timeout_ms,
					&reception);
	switch (received) {
	case TP_RECEIVED_HEADER:
		return admit_header(rule, connection, &reception.header);
	case TP_RECEIVED_NONE:
		return admit_without_header(rule, connection, TP_LOG_WARNING,
					    "no PROXY header", &reception);
	case TP_RECEIVED_MORE:
		if (!reception.seen)
			return admit_without_header(rule, connection, TP_LOG_WARNING,
						    "no PROXY header in time", NULL);
		return refuse(connection, TP_LOG_WARNING, "no complete header in time",
			      &reception);
	case TP_RECEIVED_END:
		if (!reception.seen)
			return admit_without_header(rule, connection, TP_LOG_INFO,
						    "closed before a header", NULL);
		return refuse(connection, TP_LOG_WARNING, "closed within the header", &reception);
	case TP_RECEIVED_BAD:
		return refuse(connection, TP_LOG_WARNING, reception.reason, &reception);
	case TP_RECEIVED_FAILED:
		break;
	}
	return refuse(connection, TP_LOG_ERROR, "the header could not be read", &reception);
}

/* Whether the program may have the connection. */
static bool admit(const struct tp_policy *policy, struct connection *connection)
{
	const struct tp_rule *rule = &policy->rule;
	struct tp_addr sender = tp_addr_from_kernel(&connection->sender);
	if (sender.family == AF_UNSPEC)
		return true;
	if (policy->state == TP_POLICY_BROKEN)
		return !is_tcp(connection->fd) ||
		       refuse(connection, TP_LOG_WARNING, "the settings are wrong", NULL);
	bool trusted = tp_rule_trusts(rule, &sender);
	if (!trusted && !rule->reject_untrusted)
		return true;
	if (rule->listen_count) {
		struct tp_addr local = local_address(connection->fd);
		if (!tp_rule_listens(rule, &local))
			return true;
	}
	if (trusted)
		return read_header(rule, connection);
	return !is_tcp(connection->fd) ||
	       refuse(connection, TP_LOG_WARNING, "not from a trusted source", NULL);
}

static void reset(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(fd);
}

/* The kernel's accept: the same function that the program called. */
static int take(const struct tp_accept *call, struct sockaddr *addr, socklen_t *len)
{
	return call->four ? tp_real()->accept4(call->fd, addr, len, call->flags)
			  : tp_real()->accept(call->fd, addr, len);
}

static int hand_over(const struct connection *connection, const struct tp_accept *call)
{
	union tp_sockaddr client;
	socklen_t len;
	if (!call->addr)
		return 0;
	if (connection->peer.client.family == AF_UNSPEC)
		return copy_out(&connection->sender, connection->sender_len, call->addr,
				call->len);
	len = tp_peer_to_kernel(&connection->peer, connection->sender.any.sa_family,
				call->len ? *call->len : 0, &client);
	return copy_out(&client, len, call->addr, call->len);
}

/* One connection: its descriptor, -1 with errno, or -1 with errno 0 for one that was refused. */
static int accept_one(const struct tp_policy *policy, const struct tp_accept *call)
{
	struct connection connection = {.sender_len = sizeof connection.sender};
	int cancel_state, saved = errno;
	int fd = take(call, &connection.sender.any, &connection.sender_len);
	if (fd < 0)
		return -1;
	connection.fd = fd;
	/* From here on a cancelled thread would leave the descriptor behind. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	if (!admit(policy, &connection)) {
		reset(fd);
		fd = -1;
		saved = 0;
	} else if (hand_over(&connection, call)) {
		saved = errno;
		close(fd);
		fd = -1;
	}
	pthread_setcancelstate(cancel_state, NULL);
	errno = saved;
	return fd;
}

int tp_listener_accept(const struct tp_accept *call)
{
	const struct tp_policy *policy = tp_policy_get();
	if (policy->state == TP_POLICY_OFF)
		return take(call, call->addr, call->len);
	int fd, saved = errno;
	do {
		errno = saved;
		fd = accept_one(policy, call);
	} while (fd < 0 && !errno);
	return fd;
}

int tp_listener_listen(int fd, int backlog)
{
	int saved = errno;
	if (is_tcp(fd) && tp_policy_get()->state == TP_POLICY_BROKEN) {
		errno = EINVAL;
		return -1;
	}
	errno = saved;
	return tp_real()->listen(fd, backlog);
}

int tp_listener_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct tp_peer peer;
	union tp_sockaddr kernel;
	socklen_t kernel_len = sizeof kernel;
	if (!tp_peer_get(fd, &peer) || peer.client.family == AF_UNSPEC)
		return tp_real()->getpeername(fd, addr, len);
	if (tp_real()->getpeername(fd, &kernel.any, &kernel_len))
		return -1;
	kernel_len = tp_peer_to_kernel(&peer, kernel.any.sa_family, len ? *len : 0, &kernel);
	return copy_out(&kernel, kernel_len, addr, len);
}
