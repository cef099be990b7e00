/* SPDX-License-Identifier: MIT */
#include "admit.h"

#include <errno.h>
#include <netinet/in.h>
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

#define UNIX_PATH sizeof(((struct sockaddr_un *)0)->sun_path)

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

/* Keeps connection->peer on the socket. */
static enum tp_admission admit(const struct tp_connection *connection,
			       enum tp_outcome outcome, enum tp_reason reason,
			       const struct tp_reception *reception)
{
	if (!tp_peer_put(connection->fd, &connection->peer))
		return refuse(connection, TP_REASON_NO_RECORD, NULL);
	tp_event(connection, outcome, reason, reception);
	return TP_ADMITTED;
}

/* Its own address is reported; the record says that there is no header to be read any
 * more. */
static enum tp_admission admit_sender(struct tp_connection *connection,
				      enum tp_reason reason,
				      const struct tp_reception *reception)
{
	connection->peer = (struct tp_peer){0};
	return admit(connection, TP_OUTCOME_LOCAL, reason, reception);
}

static enum tp_admission admit_client(const struct tp_rule *rule,
				      struct tp_connection *connection,
				      const struct tp_reception *reception)
{
	const struct tp_header *header = &reception->header;
	struct tp_peer *peer = &connection->peer;
	peer->client = tp_addr_unmap(header->src);
	peer->destination = tp_addr_unmap(header->dst);
	peer->tells_destination = rule->tells_destination;
	bool foreign = peer->client.family == AF_INET6 &&
		       connection->sender.any.sa_family == AF_INET;
	if (foreign && rule->ipv6 == TP_IPV6_REJECT)
		return refuse(connection, TP_REASON_IPV6, NULL);
	if (foreign && rule->ipv6 == TP_IPV6_KEEP)
		return admit_sender(connection, TP_REASON_IPV6, reception);
	if (foreign && rule->ipv6 == TP_IPV6_REPORT)
		peer->report = TP_PEER_IPV6;
	return admit(connection, TP_OUTCOME_PROXIED, TP_REASON_NONE, reception);
}

static enum tp_admission admit_header(const struct tp_rule *rule,
				      struct tp_connection *connection,
				      const struct tp_reception *reception)
{
	const struct tp_header *header = &reception->header;
	if (!rule->versions[header->version])
		return refuse(connection, TP_REASON_VERSION, reception);
	if (tp_header_names_client(header))
		return admit_client(rule, connection, reception);
	return admit_sender(connection,
			    header->command == TP_LOCAL ? TP_REASON_LOCAL
							: TP_REASON_UNKNOWN,
			    reception);
}

static enum tp_admission admit_without_header(const struct tp_rule *rule,
					      struct tp_connection *connection,
					      enum tp_reason reason,
					      const struct tp_reception *reception)
{
	return rule->header_optional ? admit_sender(connection, reason, NULL)
				     : refuse(connection, reason, reception);
}

/* What came of reading the header, once there is nothing more to wait for. */
static enum tp_admission conclude(const struct tp_rule *rule,
				  struct tp_connection *connection,
				  enum tp_received received,
				  const struct tp_reception *reception)
{
	enum tp_reason silent = TP_REASON_FAILED, begun = TP_REASON_FAILED;
	switch (received) {
	case TP_RECEIVED_HEADER:
		return admit_header(rule, connection, reception);
	case TP_RECEIVED_NONE:
		return admit_without_header(rule, connection, TP_REASON_NO_HEADER,
					    reception);
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
			       : admit_without_header(rule, connection, silent, NULL);
}

static enum tp_admission wait_for_more(struct tp_connection *connection,
				       const struct tp_reception *reception)
{
	connection->seen = reception->seen;
	connection->need = reception->need;
	return TP_WAITING;
}

static enum tp_admission read_header(const struct tp_rule *rule,
				     struct tp_connection *connection)
{
	struct tp_reception reception;
	enum tp_received received =
		tp_receive(connection->fd, rule->max_header, &reception);
	if (received != TP_RECEIVED_HEADER && !is_unix(connection) &&
	    !tp_admit_is_tcp(connection->fd))
		return TP_ADMITTED;
	if (received != TP_RECEIVED_MORE)
		return conclude(rule, connection, received, &reception);
	connection->arrived_ms = tp_clock_ms();
	if (!rule->max_pending || connection->on_the_spot)
		return conclude(rule, connection,
				tp_await(connection->fd, rule->max_header,
					 rule->timeout_ms, &reception),
				&reception);
	connection->deadline_ms = connection->arrived_ms + rule->timeout_ms;
	return wait_for_more(connection, &reception);
}

enum tp_admission tp_admit_again(const struct tp_policy *policy,
				 struct tp_connection *connection, struct tp_news news)
{
	const struct tp_rule *rule = &policy->rule;
	struct tp_reception reception;
	enum tp_received received =
		tp_receive(connection->fd, rule->max_header, &reception);
	if (received == TP_RECEIVED_MORE && news.ended)
		received = TP_RECEIVED_END;
	if (received == TP_RECEIVED_MORE && !news.expired)
		return wait_for_more(connection, &reception);
	return conclude(rule, connection, received, &reception);
}

bool tp_admit_is_late(const struct tp_policy *policy,
		      const struct tp_connection *connection)
{
	char byte;
	return !policy->rule.header_optional &&
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
static enum tp_admission admit_unix(const struct tp_policy *policy, int listener,
				    struct tp_connection *connection)
{
	const struct tp_rule *rule = &policy->rule;
	char path[TP_LOCAL_PATH];
	if (!rule->trusts_unix || !is_stream(connection->fd))
		return TP_ADMITTED;
	if (policy->state == TP_POLICY_BROKEN) {
		tp_event_arrived(connection, listener);
		return refuse(connection, TP_REASON_SETTINGS, NULL);
	}
	if (rule->listen_count &&
	    !tp_rule_listens_at(rule, path, tp_local_path(connection->fd, path)))
		return TP_ADMITTED;
	tp_event_arrived(connection, listener);
	connection->in_scope = true;
	connection->on_the_spot = true;
	return read_header(rule, connection);
}

enum tp_admission tp_admit(const struct tp_policy *policy, int listener,
			   struct tp_connection *connection)
{
	const struct tp_rule *rule = &policy->rule;
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
	bool trusted = tp_rule_trusts(rule, &sender);
	bool passes = !trusted && !rule->reject_untrusted;
	if (passes && !tp_events_wanted())
		return TP_ADMITTED;
	if (rule->listen_count) {
		struct tp_addr local = tp_local_addr(connection->fd);
		if (local.family == AF_UNSPEC && !passes &&
		    tp_admit_is_tcp(connection->fd)) {
			tp_event_arrived(connection, listener);
			return refuse(connection, TP_REASON_FAILED, NULL);
		}
		if (!tp_rule_listens(rule, &local))
			return TP_ADMITTED;
	}
	tp_event_arrived(connection, listener);
	if (passes) {
		tp_event(connection, TP_OUTCOME_UNTRUSTED, TP_REASON_NONE, NULL);
		return TP_ADMITTED;
	}
	connection->in_scope = true;
	if (trusted)
		return read_header(rule, connection);
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

void tp_admit_end(int fd)
{
	dissolve(fd);
	shutdown(fd, SHUT_RDWR);
}
