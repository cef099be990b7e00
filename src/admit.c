/* SPDX-License-Identifier: MIT */
#include "admit.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include "await.h"
#include "clock.h"
#include "events.h"
#include "local.h"
#include "peer.h"
#include "real.h"
#include "receive.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

bool tp_admit_is_tcp(int fd)
{
	int protocol;
	socklen_t size = sizeof protocol;
	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size))
		return errno != EBADF && errno != ENOTSOCK;
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

static bool is_unix(const struct tp_connection *connection)
{
	return connection->sender.any.sa_family == AF_UNIX;
}

/* Always TP_REFUSED, for `return refuse(...)`. */
static enum tp_admission refuse(const struct tp_connection *connection,
				enum tp_reason reason,
				const struct tp_reception *reception)
{
	tp_event(connection, TP_OUTCOME_REJECTED, reason, reception);
	return TP_REFUSED;
}

static enum tp_admission keep(const struct tp_connection *connection,
			      enum tp_outcome outcome, enum tp_reason reason,
			      const struct tp_reception *reception)
{
	if (!tp_peer_put(connection->fd, &connection->peer))
		return refuse(connection, TP_REASON_NO_RECORD, NULL);
	tp_event(connection, outcome, reason, reception);
	return TP_ADMITTED;
}

/*
 * Under the client's address, or under the sender's own where no header named one: for
 * the reason given. The record says all the same that there is no header to be read any
 * more.
 */
static enum tp_admission admit(struct tp_connection *connection, enum tp_reason reason,
			       const struct tp_reception *reception)
{
	const enum tp_ipv6 ipv6 = connection->rule->ipv6;
	struct tp_peer *peer = &connection->peer;
	bool foreign = peer->client.family == AF_INET6 &&
		       connection->sender.any.sa_family == AF_INET;
	if (foreign && ipv6 == TP_IPV6_REJECT)
		return refuse(connection, TP_REASON_IPV6, NULL);
	if (foreign && ipv6 == TP_IPV6_KEEP) {
		reason = TP_REASON_IPV6;
		peer->client.family = AF_UNSPEC;
	}
	if (peer->client.family == AF_UNSPEC) {
		*peer = (struct tp_peer){0};
		return keep(connection, TP_OUTCOME_LOCAL, reason, reception);
	}
	if (foreign && ipv6 == TP_IPV6_REPORT)
		peer->report = TP_PEER_IPV6;
	return keep(connection, TP_OUTCOME_PROXIED, TP_REASON_NONE, reception);
}

/* What forbids a header that is valid, or TP_REASON_NONE. */
static enum tp_reason find_objection(const struct tp_rule *rule,
				     const struct tp_header *header)
{
	if (!rule->versions[header->version])
		return TP_REASON_VERSION;
	if (rule->reject_local && !tp_header_names_client(header))
		return TP_REASON_NO_CLIENT;
	return TP_REASON_NONE;
}

static enum tp_admission admit_header(struct tp_connection *connection,
				      const struct tp_reception *reception)
{
	const struct tp_header *header = &reception->header;
	enum tp_reason objection = find_objection(connection->rule, header);
	if (objection)
		return refuse(connection, objection, reception);
	return admit(connection,
		     header->command == TP_LOCAL ? TP_REASON_LOCAL : TP_REASON_UNKNOWN,
		     reception);
}

static enum tp_admission admit_without_header(struct tp_connection *connection,
					      enum tp_reason reason,
					      const struct tp_reception *reception)
{
	return connection->headers || connection->rule->header_optional
		       ? admit(connection, reason, NULL)
		       : refuse(connection, reason, reception);
}

/* What came of reading the header, once there is nothing more to wait for. */
static enum tp_admission conclude(struct tp_connection *connection,
				  enum tp_received received,
				  const struct tp_reception *reception)
{
	enum tp_reason silent = TP_REASON_FAILED, begun = TP_REASON_FAILED;
	switch (received) {
	case TP_RECEIVED_HEADER:
		return admit_header(connection, reception);
	case TP_RECEIVED_NONE:
		return admit_without_header(connection, TP_REASON_NO_HEADER, reception);
	case TP_RECEIVED_MORE:
		silent = TP_REASON_SILENT;
		begun = TP_REASON_LATE;
		break;
	case TP_RECEIVED_END:
		silent = TP_REASON_PROBE;
		begun = TP_REASON_CUT;
		break;
	case TP_RECEIVED_BAD:
		return refuse(connection, TP_REASON_MALFORMED, reception);
	case TP_RECEIVED_FAILED:
		return refuse(connection, TP_REASON_FAILED, reception);
	}
	return reception->seen ? refuse(connection, begun, reception)
			       : admit_without_header(connection, silent, NULL);
}

/* The local address is asked for only where the answer depends on it. False without it.
 */
static bool find_rule(const struct tp_policy *policy, int fd,
		      const struct tp_addr *sender, struct tp_match *match)
{
	if (tp_policy_match(policy, sender, NULL, match))
		return true;
	struct tp_addr local = tp_local_addr(fd);
	return tp_policy_match(policy, sender, &local, match) &&
	       local.family != AF_UNSPEC;
}

/* Whether a header from there would be believed. */
static bool is_trusted(const struct tp_policy *policy,
		       const struct tp_connection *connection,
		       const struct tp_addr *client)
{
	struct tp_match match;
	return tp_prefix_set_contains(&connection->rule->trust, client) ||
	       (find_rule(policy, connection->fd, client, &match) && match.trusted);
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
	       is_trusted(policy, connection, &peer->client);
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
	const uint32_t timeout_ms = connection->rule->timeout_ms;
	enum tp_received received;
	do {
		int64_t left = connection->deadline_ms - tp_clock_ms();
		if (left <= 0)
			return TP_RECEIVED_MORE;
		received = tp_await(connection->fd, limits,
				    left < timeout_ms ? (uint32_t)left : timeout_ms,
				    reception);
		if (received != TP_RECEIVED_HEADER ||
		    !leads_on(policy, connection, &reception->header))
			return received;
		received = look(policy, connection, reception);
	} while (received == TP_RECEIVED_MORE);
	return received;
}

/* What it has learnt is kept on the socket: it may come to wait in another process. */
static enum tp_admission wait_for_more(struct tp_connection *connection,
				       const struct tp_reception *reception)
{
	if (connection->headers && !tp_peer_put(connection->fd, &connection->peer))
		return refuse(connection, TP_REASON_NO_RECORD, NULL);
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
	connection->arrived_ms = tp_clock_ms();
	connection->deadline_ms = connection->arrived_ms + connection->rule->timeout_ms;
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
	bool excused = !connection->seen &&
		       (connection->headers || connection->rule->header_optional);
	struct pollfd fd = {.fd = connection->fd, .events = POLLIN};
	return !excused && connection->deadline_ms <= tp_clock_ms() &&
	       tp_real()->poll(&fd, 1, 0) <= 0;
}

static bool is_stream(int fd)
{
	int type;
	socklen_t size = sizeof type;
	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM;
}

static const struct tp_rule *find_unix_rule(const struct tp_policy *policy, int fd)
{
	char path[TP_LOCAL_PATH];
	return tp_policy_match_unix(policy, path, tp_local_path(fd, path));
}

/*
 * AF_UNIX listeners are left alone unless they are trusted by name. Connections are not
 * parked: SO_RCVLOWAT does not hold there, and a local sender has its header ready.
 */
static enum tp_admission admit_unix(const struct tp_policy *policy, int listener,
				    struct tp_connection *connection)
{
	bool broken = policy->state == TP_POLICY_BROKEN;
	if (policy->has_unix && !broken)
		connection->rule = find_unix_rule(policy, connection->fd);
	bool concerned = policy->has_unix && (broken || connection->rule);
	if (!concerned || !is_stream(connection->fd))
		return TP_ADMITTED;
	tp_event_arrived(connection, listener);
	if (broken)
		return refuse(connection, TP_REASON_SETTINGS, NULL);
	connection->on_the_spot = true;
	return read_header(policy, connection);
}

bool tp_admit_resume(const struct tp_policy *policy, struct tp_connection *connection)
{
	struct tp_addr sender = tp_addr_from_kernel(&connection->sender);
	struct tp_match match;
	bool known = find_rule(policy, connection->fd, &sender, &match);
	connection->rule = match.rule;
	return known && match.trusted &&
	       (!connection->headers || tp_peer_get(connection->fd, &connection->peer));
}

static bool is_in_scope(const struct tp_policy *policy, int fd)
{
	struct tp_addr local = tp_local_addr(fd);
	return tp_policy_listens_on(policy, &local);
}

enum tp_admission tp_admit(const struct tp_policy *policy, int listener,
			   struct tp_connection *connection)
{
	struct tp_addr sender = tp_addr_from_kernel(&connection->sender);
	if (is_unix(connection))
		return admit_unix(policy, listener, connection);
	if (sender.family == AF_UNSPEC)
		return TP_ADMITTED;
	if (policy->state == TP_POLICY_BROKEN) {
		if (!tp_admit_is_tcp(connection->fd))
			return TP_ADMITTED;
		tp_event_arrived(connection, listener);
		return refuse(connection, TP_REASON_SETTINGS, NULL);
	}
	struct tp_match match;
	if (!find_rule(policy, connection->fd, &sender, &match)) {
		if (!tp_admit_is_tcp(connection->fd))
			return TP_ADMITTED;
		tp_event_arrived(connection, listener);
		return refuse(connection, TP_REASON_FAILED, NULL);
	}
	connection->rule = match.rule;
	if (!match.rule) {
		if (tp_events_wanted() && is_in_scope(policy, connection->fd)) {
			tp_event_arrived(connection, listener);
			tp_event(connection, TP_OUTCOME_UNTRUSTED, TP_REASON_NONE, NULL);
		}
		return TP_ADMITTED;
	}
	tp_event_arrived(connection, listener);
	if (match.trusted)
		return read_header(policy, connection);
	return tp_admit_is_tcp(connection->fd)
		       ? refuse(connection, TP_REASON_UNTRUSTED, NULL)
		       : TP_ADMITTED;
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

void tp_admit_turn_away(const struct tp_connection *connection, enum tp_reason reason)
{
	refuse(connection, reason, NULL);
	tp_admit_reset(connection->fd);
}

void tp_admit_end(int fd)
{
	dissolve(fd);
	shutdown(fd, SHUT_RDWR);
}
