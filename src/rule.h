/* SPDX-License-Identifier: MIT */
/* The rules: which listener, which source, and what then. All here is pure. */
#ifndef TP_RULE_H
#define TP_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "cidr.h"
#include "header.h"

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

enum tp_untrusted { /* connections from others than trusted sources */
		    TP_UNTRUSTED_UNSAID,
		    TP_UNTRUSTED_PASS,
		    TP_UNTRUSTED_REJECT,
};

enum tp_ipv6 { /* an IPv6 client on an AF_INET listener */
	       TP_IPV6_PSEUDO,
	       TP_IPV6_REPORT,
	       TP_IPV6_KEEP,
	       TP_IPV6_REJECT,
};

enum tp_defer { /* TCP_DEFER_ACCEPT on the listeners */
		TP_DEFER_UNSAID,
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

struct tp_rule {
	size_t line; /* of the rules file; 0: the variables */

	/* Which connections. */
	struct tp_listen *listen;
	size_t listen_count; /* 0: every listener */
	struct tp_prefix_set trust;
	bool trusts_unix; /* whoever connects to an AF_UNIX listener */

	/* What is done with those. */
	bool header_optional;
	bool reject_local; /* headers that name no client */
	bool versions[3];  /* [1] and [2]: whether that version is taken */
	uint32_t timeout_ms;
	struct tp_header_limits limits;
	uint32_t chain; /* how many headers may follow the first */
	enum tp_ipv6 ipv6;
	bool tells_destination; /* getsockname reports the header's destination */

	/* What is done on those listeners with everybody: the first rule that says it
	 * counts.
	 */
	enum tp_untrusted untrusted;
	enum tp_defer defer;
};

/* Connections that the process begins with and whose header is unread. */
struct tp_inherited_settings {
	uint64_t numbers; /* bit by bit, the descriptors up to TP_INHERITED_MAX */
	bool listen_fds;  /* and those of sd_listen_fds(3) */
};

#define TP_INHERITED_MAX 63

enum tp_policy_state {
	TP_POLICY_OFF, /* no rule: nothing is touched */
	TP_POLICY_ON,
	TP_POLICY_BROKEN, /* a mistake in the settings: no connection is let in */
};

/*
 * The trusted sources of all rules, in memory of the policy's owner, sorted: a sender
 * lies in the prefix that a search ends at and in those around it, which are few.
 */
struct tp_sources {
	struct tp_prefix_set prefixes; /* tag: the rule, by its place */
	uint32_t *outer; /* the last prefix next around, by its place + 1; 0: none */
};

struct tp_policy {
	enum tp_policy_state state;
	struct tp_rule *rules; /* the first that matches counts */
	size_t rule_count;
	struct tp_sources sources; /* of all rules */
	bool has_unix;	      /* some rule trusts_unix; in a BROKEN one: it may have to */
	bool rejects;	      /* some rule rejects the untrusted */
	uint32_t max_pending; /* connections of the process that may wait for their header
			       */
	bool limited, named;  /* programs are listed; this one is */
	struct tp_inherited_settings inherited;
	struct tp_log_settings log;
	struct tp_path stats;
};

/* What the rules say of a connection. */
struct tp_match {
	const struct tp_rule *rule; /* NULL: it is left untouched */
	bool trusted;		    /* it may bring a header; else the rule rejects it */
};

/* The bytes of memory that the sources of so many prefixes take. */
#define TP_SOURCES_MEMORY(count) ((count) * (sizeof(struct tp_prefix) + sizeof(uint32_t)))

/*
 * Gathers the sources of the policy's rules, for tp_policy_match, in memory for as many
 * prefixes as they have, aligned for a uint32_t.
 */
void tp_policy_gather_sources(struct tp_policy *policy, void *memory);

/*
 * Finds the rule for a connection from this sender with this local address. local may be
 * NULL: then false means that the answer depends on it.
 */
bool tp_policy_match(const struct tp_policy *policy, const struct tp_addr *sender,
		     const struct tp_addr *local, struct tp_match *match);

/* The rule for a connection of an AF_UNIX listener bound to this path, of len bytes;
 * NULL: it is left untouched. */
const struct tp_rule *tp_policy_match_unix(const struct tp_policy *policy,
					   const char *path, size_t len);

/* Whether a rule may apply to a connection of a listener bound to this address. */
bool tp_policy_listens_on(const struct tp_policy *policy, const struct tp_addr *bound);

/* The rule that asks for TCP_DEFER_ACCEPT on a listener bound to this address, or NULL.
 */
const struct tp_rule *tp_policy_defers(const struct tp_policy *policy,
				       const struct tp_addr *bound);

#endif
