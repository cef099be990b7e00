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
	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size))
		return errno != EBADF && errno != ENOTSOCK;
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
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

/* Other connections than TCP are let in. */
static enum tp_admission refuse_tcp(const struct tp_connection *connection,
				    const char *reason)
{
	return tp_admit_is_tcp(connection->fd)
		       ? refuse(connection, TP_LOG_WARNING, reason, NULL)
		       : TP_ADMITTED;
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

/* Its own address is reported; the record says that there is no header to be read any
 * more. */
static enum tp_admission admit_sender(struct tp_connection *connection)
{
	connection->peer = (struct tp_peer){0};
	return keep_peer(connection);
}

static enum tp_admission admit_client(const struct tp_rule *rule,
				      struct tp_connection *connection,
				      const struct tp_header *header)
{
	struct tp_peer *peer = &connection->peer;
	peer->client = tp_addr_unmap(header->src);
	peer->destination = tp_addr_unmap(header->dst);
	peer->tells_destination = rule->tells_destination;
	bool foreign = peer->client.family == AF_INET6 &&
		       connection->sender.any.sa_family == AF_INET;
	if (foreign && rule->ipv6 == TP_IPV6_REJECT)
		return refuse(connection, TP_LOG_WARNING,
			      "IPv6 client on an IPv4 listener", NULL);
	if (foreign && rule->ipv6 == TP_IPV6_KEEP)
		return admit_sender(connection);
	if (foreign && rule->ipv6 == TP_IPV6_REPORT)
		peer->report = TP_PEER_IPV6;
	if (foreign && rule->ipv6 == TP_IPV6_PSEUDO)
		tell_pseudo(connection);
	tell_client(connection);
	return keep_peer(connection);
}

static enum tp_admission admit_header(const struct tp_rule *rule,
				      struct tp_connection *connection,
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

static enum tp_admission admit_without_header(const struct tp_rule *rule,
					      struct tp_connection *connection,
					      enum tp_log_level level, const char *reason,
					      const struct tp_reception *reception)
{
	return rule->header_optional ? admit_sender(connection)
				     : refuse(connection, level, reason, reception);
}

/* What came of reading the header, once there is nothing more to wait for. */
static enum tp_admission conclude(const struct tp_rule *rule,
				  struct tp_connection *connection,
				  enum tp_received received,
				  const struct tp_reception *reception)
{
	switch (received) {
	case TP_RECEIVED_HEADER:
		return admit_header(rule, connection, &reception->header);
	case TP_RECEIVED_NONE:
		return admit_without_header(rule, connection, TP_LOG_WARNING,
					    "no PROXY header", reception);
	case TP_RECEIVED_MORE:
		if (!reception->seen)
			return admit_without_header(rule, connection, TP_LOG_WARNING,
						    "no PROXY header in time", NULL);
		return refuse(connection, TP_LOG_WARNING, "no complete header in time",
			      reception);
	case TP_RECEIVED_END:
		if (!reception->seen)
			return admit_without_header(rule, connection, TP_LOG_INFO,
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
	if (!rule->max_pending || connection->on_the_spot)
		return conclude(rule, connection,
				tp_await(connection->fd, rule->max_header,
					 rule->timeout_ms, &reception),
				&reception);
	connection->deadline_ms = tp_clock_ms() + rule->timeout_ms;
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
static enum tp_admission admit_unix(const struct tp_policy *policy,
				    struct tp_connection *connection)
{
	const struct tp_rule *rule = &policy->rule;
	char path[UNIX_PATH];
	if (!rule->trusts_unix || !is_stream(connection->fd))
		return TP_ADMITTED;
	if (policy->state == TP_POLICY_BROKEN)
		return refuse(connection, TP_LOG_WARNING, "the settings are wrong", NULL);
	if (rule->listen_count &&
	    !tp_rule_listens_at(rule, path, local_path(connection->fd, path)))
		return TP_ADMITTED;
	connection->in_scope = true;
	connection->on_the_spot = true;
	return read_header(rule, connection);
}

enum tp_admission tp_admit(const struct tp_policy *policy,
			   struct tp_connection *connection)
{
	const struct tp_rule *rule = &policy->rule;
	struct tp_addr sender = tp_addr_from_kernel(&connection->sender);
	if (is_unix(connection))
		return admit_unix(policy, connection);
	if (sender.family == AF_UNSPEC)
		return TP_ADMITTED;
	if (policy->state == TP_POLICY_BROKEN)
		return refuse_tcp(connection, "the settings are wrong");
	bool trusted = tp_rule_trusts(rule, &sender);
	if (!trusted && !rule->reject_untrusted)
		return TP_ADMITTED;
	if (rule->listen_count) {
		struct tp_addr local = tp_admit_local(connection->fd);
		if (local.family == AF_UNSPEC)
			return refuse_tcp(connection, "its local address is not known");
		if (!tp_rule_listens(rule, &local))
			return TP_ADMITTED;
	}
	connection->in_scope = true;
	if (trusted)
		return read_header(rule, connection);
	return refuse_tcp(connection, "not from a trusted source");
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
