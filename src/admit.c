/* SPDX-License-Identifier: MIT */
#include "admit.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "await.h"
#include "clock.h"
#include "log.h"
#include "peer.h"
#include "real.h"
#include "receive.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define UNIX_PATH sizeof(((struct sockaddr_un *)0)->sun_path)

bool tp_admit_is_tcp(int fd)
{
	int protocol;
	socklen_t size = sizeof protocol;
	return !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) &&
	       (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

struct tp_addr tp_admit_local(int fd)
{
	union tp_sockaddr local = {0};
	socklen_t len = sizeof local;
	if (tp_real()->getsockname(fd, &local.any, &len))
		local.any.sa_family = AF_UNSPEC;
	return tp_addr_from_kernel(&local);
}

static bool is_unix(const struct tp_connection *connection)
{
	return connection->sender.any.sa_family == AF_UNIX;
}

/* The path of an AF_UNIX socket; 0 when it has none, as abstract ones. */
static size_t local_path(int fd, char path[UNIX_PATH])
{
	union {
		struct sockaddr any;
		struct sockaddr_un un;
	} local;
	socklen_t len = sizeof local;
	if (tp_real()->getsockname(fd, &local.any, &len) ||
	    len <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	size_t size =
		strnlen(local.un.sun_path, len - offsetof(struct sockaddr_un, sun_path));
	memcpy(path, local.un.sun_path, size);
	return size;
}

static void put_sender(struct tp_text *text, const struct tp_connection *connection)
{
	struct tp_addr sender = tp_addr_unmap(tp_addr_from_kernel(&connection->sender));
	if (is_unix(connection))
		tp_text_put(text, "a local program");
	else
		tp_text_put_addr(text, &sender);
}

static void put_local(struct tp_text *text, const struct tp_connection *connection)
{
	char path[UNIX_PATH];
	if (is_unix(connection)) {
		tp_text_put_quoted(text, path, local_path(connection->fd, path));
	} else {
		struct tp_addr local = tp_addr_unmap(tp_admit_local(connection->fd));
		tp_text_put_addr(text, &local);
	}
}

/* Always TP_REFUSED, for `return refuse(...)`. */
static enum tp_admission refuse(const struct tp_connection *connection,
				enum tp_log_level level, const char *reason,
				const struct tp_reception *reception)
{
	if (!tp_log_wants(level))
		return TP_REFUSED;
	struct tp_text text = {0};
	tp_text_put(&text, "refused ");
	put_sender(&text, connection);
	tp_text_put(&text, " on ");
	put_local(&text, connection);
	tp_text_put(&text, ": ");
	tp_text_put(&text, reason);
	if (reception && reception->sample_len) {
		tp_text_put(&text, "; it begins ");
		tp_text_put_quoted(&text, reception->sample, reception->sample_len);
	}
	tp_log(level, &text);
	return TP_REFUSED;
}

static void tell_client(const struct tp_connection *connection)
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
static void tell_pseudo(const struct tp_connection *connection)
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

static enum tp_admission keep_peer(const struct tp_connection *connection)
{
	if (tp_peer_put(connection->fd, &connection->peer))
		return TP_ADMITTED;
	return refuse(connection, TP_LOG_ERROR, "no place to keep the client's address",
		      NULL);
}

/* Under the client's address, or under the sender's own where no header named one. */
static enum tp_admission admit(struct tp_connection *connection)
{
	const enum tp_ipv6 ipv6 = connection->rule->ipv6;
	struct tp_peer *peer = &connection->peer;
	bool foreign = peer->client.family == AF_INET6 &&
		       connection->sender.any.sa_family == AF_INET;
	if (foreign && ipv6 == TP_IPV6_REJECT)
		return refuse(connection, TP_LOG_WARNING,
			      "IPv6 client on an IPv4 listener", NULL);
	/* The record says all the same that there is no header to be read any more. */
	if (peer->client.family == AF_UNSPEC || (foreign && ipv6 == TP_IPV6_KEEP)) {
		*peer = (struct tp_peer){0};
		return keep_peer(connection);
	}
	if (foreign && ipv6 == TP_IPV6_REPORT)
		peer->report = TP_PEER_IPV6;
	if (foreign && ipv6 == TP_IPV6_PSEUDO)
		tell_pseudo(connection);
	tell_client(connection);
	return keep_peer(connection);
}

static enum tp_admission admit_without_header(struct tp_connection *connection,
					      enum tp_log_level level, const char *reason,
					      const struct tp_reception *reception)
{
	return connection->headers || connection->rule->header_optional
		       ? admit(connection)
		       : refuse(connection, level, reason, reception);
}

/* What forbids a header that is valid, or NULL. */
static const char *find_objection(const struct tp_rule *rule,
				  const struct tp_header *header)
{
	if (!rule->versions[header->version])
		return header->version == 1 ? "version 1 is not allowed"
					    : "version 2 is not allowed";
	if (rule->reject_local && !tp_header_names_client(header))
		return "the header names no client";
	return NULL;
}

/* What came of looking for a header, once there is nothing more to wait for. */
static enum tp_admission conclude(struct tp_connection *connection,
				  enum tp_received received,
				  const struct tp_reception *reception)
{
	const char *objection;
	switch (received) {
	case TP_RECEIVED_HEADER:
		objection = find_objection(connection->rule, &reception->header);
		return objection ? refuse(connection, TP_LOG_WARNING, objection, NULL)
				 : admit(connection);
	case TP_RECEIVED_NONE:
		return admit_without_header(connection, TP_LOG_WARNING, "no PROXY header",
					    reception);
	case TP_RECEIVED_MORE:
		if (!reception->seen)
			return admit_without_header(connection, TP_LOG_WARNING,
						    "no PROXY header in time", NULL);
		return refuse(connection, TP_LOG_WARNING, "no complete header in time",
			      reception);
	case TP_RECEIVED_END:
		if (!reception->seen)
			return admit_without_header(connection, TP_LOG_INFO,
						    "closed before a header", NULL);
		return refuse(connection, TP_LOG_WARNING, "closed within the header",
			      reception);
	case TP_RECEIVED_BAD:
		return refuse(connection, TP_LOG_WARNING, reception->reason, reception);
	case TP_RECEIVED_FAILED:
		break;
	}
	return refuse(connection, TP_LOG_ERROR, "the header could not be read",
		      reception);
}

/* The local address is asked for only where the answer depends on it. */
static struct tp_match find_rule(const struct tp_policy *policy, int fd,
				 const struct tp_addr *sender)
{
	struct tp_match match;
	if (!tp_policy_match(policy, sender, NULL, &match)) {
		struct tp_addr local = tp_admit_local(fd);
		tp_policy_match(policy, sender, &local, &match);
	}
	return match;
}

/*
 * Learns what the header says. True when one more may follow: its sender, the client of
 * this one, is a trusted source itself.
 */
static bool leads_on(const struct tp_policy *policy, struct tp_connection *connection,
		     const struct tp_header *header)
{
	const struct tp_rule *rule = connection->rule;
	struct tp_peer *peer = &connection->peer;
	if (find_objection(rule, header) || !tp_header_names_client(header))
		return false;
	peer->client = tp_addr_unmap(header->src);
	peer->destination = tp_addr_unmap(header->dst);
	peer->tells_destination = rule->tells_destination;
	connection->headers++;
	return connection->headers <= rule->chain &&
	       (tp_prefix_set_contains(&rule->trust, &peer->client) ||
		find_rule(policy, connection->fd, &peer->client).trusted);
}

static enum tp_received look(const struct tp_policy *policy,
			     struct tp_connection *connection,
			     struct tp_reception *reception)
{
	const struct tp_header_limits *limits = &connection->rule->limits;
	enum tp_received received;
	do
		received = tp_receive(connection->fd, limits, reception);
	while (received == TP_RECEIVED_HEADER &&
	       leads_on(policy, connection, &reception->header));
	return received;
}

/* Waits on the spot, where no connection may be parked. */
static enum tp_received await(const struct tp_policy *policy,
			      struct tp_connection *connection,
			      struct tp_reception *reception)
{
	const struct tp_header_limits *limits = &connection->rule->limits;
	enum tp_received received = TP_RECEIVED_MORE;
	int64_t left;
	while (received == TP_RECEIVED_MORE &&
	       (left = connection->deadline_ms - tp_clock_ms()) > 0) {
		received = tp_await(connection->fd, limits, (uint32_t)left, reception);
		if (received == TP_RECEIVED_HEADER &&
		    leads_on(policy, connection, &reception->header))
			received = look(policy, connection, reception);
	}
	return received;
}

/* What it has learnt is kept on the socket: it may come to wait in another process. */
static enum tp_admission wait_for_more(struct tp_connection *connection,
				       const struct tp_reception *reception)
{
	if (connection->headers && keep_peer(connection) == TP_REFUSED)
		return TP_REFUSED;
	connection->seen = reception->seen;
	connection->need = reception->need;
	return TP_WAITING;
}

static enum tp_admission read_header(const struct tp_policy *policy,
				     struct tp_connection *connection)
{
	struct tp_reception reception;
	enum tp_received received = look(policy, connection, &reception);
	if (received != TP_RECEIVED_HEADER && !connection->headers &&
	    !is_unix(connection) && !tp_admit_is_tcp(connection->fd))
		return TP_ADMITTED;
	if (received != TP_RECEIVED_MORE)
		return conclude(connection, received, &reception);
	connection->deadline_ms = tp_clock_ms() + connection->rule->timeout_ms;
	if (policy->max_pending && !connection->on_the_spot)
		return wait_for_more(connection, &reception);
	received = await(policy, connection, &reception);
	return conclude(connection, received, &reception);
}

enum tp_admission tp_admit_again(const struct tp_policy *policy,
				 struct tp_connection *connection, struct tp_news news)
{
	struct tp_reception reception;
	enum tp_received received = look(policy, connection, &reception);
	if (received == TP_RECEIVED_MORE && news.ended)
		received = TP_RECEIVED_END;
	if (received == TP_RECEIVED_MORE && !news.expired)
		return wait_for_more(connection, &reception);
	return conclude(connection, received, &reception);
}

bool tp_admit_is_late(const struct tp_connection *connection)
{
	char byte;
	return !connection->rule->header_optional && !connection->headers &&
	       connection->deadline_ms <= tp_clock_ms() &&
	       recv(connection->fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) <= 0;
}

static bool is_stream(int fd)
{
	int type;
	socklen_t size = sizeof type;
	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM;
}

/*
 * AF_UNIX listeners are left alone unless they are trusted by name. Connections are not
 * parked: SO_RCVLOWAT does not hold there, and a local sender has its header ready.
 */
static enum tp_admission admit_unix(const struct tp_policy *policy,
				    struct tp_connection *connection)
{
	char path[UNIX_PATH];
	size_t len = policy->has_unix ? local_path(connection->fd, path) : 0;
	connection->rule =
		policy->has_unix ? tp_policy_match_unix(policy, path, len) : NULL;
	if (!connection->rule || !is_stream(connection->fd))
		return TP_ADMITTED;
	if (policy->state == TP_POLICY_BROKEN)
		return refuse(connection, TP_LOG_WARNING, "the settings are wrong", NULL);
	connection->on_the_spot = true;
	return read_header(policy, connection);
}

bool tp_admit_resume(const struct tp_policy *policy, struct tp_connection *connection)
{
	struct tp_addr sender = tp_addr_from_kernel(&connection->sender);
	struct tp_match match = find_rule(policy, connection->fd, &sender);
	connection->rule = match.rule;
	return match.trusted &&
	       (!connection->headers || tp_peer_get(connection->fd, &connection->peer));
}

enum tp_admission tp_admit(const struct tp_policy *policy,
			   struct tp_connection *connection)
{
	struct tp_addr sender = tp_addr_from_kernel(&connection->sender);
	if (is_unix(connection))
		return admit_unix(policy, connection);
	if (sender.family == AF_UNSPEC)
		return TP_ADMITTED;
	if (policy->state == TP_POLICY_BROKEN)
		return tp_admit_is_tcp(connection->fd)
			       ? refuse(connection, TP_LOG_WARNING,
					"the settings are wrong", NULL)
			       : TP_ADMITTED;
	struct tp_match match = find_rule(policy, connection->fd, &sender);
	connection->rule = match.rule;
	if (!match.rule)
		return TP_ADMITTED;
	if (match.trusted)
		return read_header(policy, connection);
	return tp_admit_is_tcp(connection->fd) ? refuse(connection, TP_LOG_WARNING,
							"not from a trusted source", NULL)
					       : TP_ADMITTED;
}

void tp_admit_refuse(const struct tp_connection *connection, const char *reason)
{
	refuse(connection, TP_LOG_WARNING, reason, NULL);
}

/*
 * Dissolving the association (connect(2), AF_UNSPEC) resets at once; so does the last
 * close. AF_UNIX knows neither: the last close resets where bytes were left unread.
 */
static void dissolve(int fd)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	const struct linger now = {.l_onoff = 1, .l_linger = 0};
	if (connect(fd, &nobody, sizeof nobody))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void tp_admit_reset(int fd)
{
	dissolve(fd);
	tp_real()->close(fd);
}

void tp_admit_end(int fd)
{
	dissolve(fd);
	shutdown(fd, SHUT_RDWR);
}
