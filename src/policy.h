/* SPDX-License-Identifier: MIT */
/* The rules: which listener, which source, and what then. */
#ifndef TP_POLICY_H
#define TP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "cidr.h"

/* A listener the rules apply to, by the local address of its connections. */
struct tp_listen {
	struct {
		const char *text; /* of an AF_UNIX listener, not ended by NUL; or NULL */
		size_t len;
	} path;
	struct tp_addr addr; /* AF_UNSPEC: any address; its port is not looked at */
	bool any_ip;	     /* any address of addr.family */
	uint16_t first_port, last_port;
};

enum tp_ipv6 { /* an IPv6 client on an AF_INET listener */
	       TP_IPV6_PSEUDO,
	       TP_IPV6_REPORT,
	       TP_IPV6_KEEP,
	       TP_IPV6_REJECT,
};

enum tp_defer {		       /* TCP_DEFER_ACCEPT on the listeners */
		TP_DEFER_AUTO, /* where no client comes without a header */
		TP_DEFER_ON,
		TP_DEFER_OFF,
};

enum tp_log_level { TP_LOG_ERROR, TP_LOG_WARNING, TP_LOG_INFO };
enum tp_log_target { TP_LOG_STDERR, TP_LOG_SYSLOG, TP_LOG_FILE, TP_LOG_NONE };

/* A file's name: absolute, not ended by NUL; len 0: none. */
struct tp_path {
	const char *text;
	size_t len;
};

struct tp_log_settings {
	enum tp_log_target target;
	enum tp_log_level level;
	struct tp_path path; /* TP_LOG_FILE */
};

/* Connections that the process begins with and whose header is unread. */
struct tp_inherited_settings {
	uint64_t numbers; /* bit by bit, the descriptors up to TP_INHERITED_MAX */
	bool listen_fds;  /* and those of sd_listen_fds(3) */
};

#define TP_INHERITED_MAX 63

struct tp_rule {
	struct tp_prefix_set trust;
	bool trusts_unix; /* whoever connects to an AF_UNIX listener */
	struct tp_listen *listen;
	size_t listen_count; /* 0: every listener */
	bool header_optional;
	bool reject_untrusted;
	bool versions[3]; /* [1] and [2]: whether that version is taken */
	uint32_t timeout_ms;
	uint32_t max_header;  /* bytes */
	uint32_t max_pending; /* connections that may wait for their header */
	enum tp_defer defer;
	enum tp_ipv6 ipv6;
	bool tells_destination; /* getsockname reports the header's destination */
};

enum tp_policy_state {
	TP_POLICY_OFF, /* no trusted source: nothing is touched */
	TP_POLICY_ON,
	TP_POLICY_BROKEN, /* a mistake in the settings: no connection is let in */
};

struct tp_policy {
	enum tp_policy_state state;
	struct tp_rule rule;
	struct tp_inherited_settings inherited;
	struct tp_log_settings log;
	struct tp_path stats;
};

/*
 * The policy of this process. The first call reads the settings (environ.h), opens the
 * log and writes what is wrong; later ones are one atomic load. Any number of threads,
 * signal handlers and forked children may be first at once: each reads, one wins. Never
 * NULL; lives as long as the process. errno is kept.
 */
const struct tp_policy *tp_policy_get(void);

/* Whether a connection from this address may bring a header. Pure. */
bool tp_rule_trusts(const struct tp_rule *rule, const struct tp_addr *sender);

/* Whether the rule applies to a connection with this local address. Pure. */
bool tp_rule_listens(const struct tp_rule *rule, const struct tp_addr *local);

/* The same for an AF_UNIX socket bound to this path, of len bytes. Pure. */
bool tp_rule_listens_at(const struct tp_rule *rule, const char *path, size_t len);

/* Whether it may apply to a connection of a listener bound to this address. Pure. */
bool tp_rule_listens_on(const struct tp_rule *rule, const struct tp_addr *bound);

/* Whether TCP_DEFER_ACCEPT holds up no client that may come without a header. Pure. */
bool tp_rule_defers(const struct tp_rule *rule);

#endif
