/* SPDX-License-Identifier: MIT */
#include "events.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

#include "clock.h"
#include "hint.h"
#include "local.h"
#include "log.h"
#include "stats.h"
#include "tlv.h"

#define SAMPLE 32		   /* bytes of what was sent instead of a header */
#define FIELD 128		   /* of a TLV */
#define VERIFIED 5		   /* where an SSL TLV's own TLVs begin; before them: */
#define CERTIFICATES (0x02 | 0x04) /* bits of its first byte, then how verifying went */

static const struct {
	enum tp_log_level level;
	const char *words;
} reasons[] = {
#define REASON(name, label, level, outcomes, words) {level, words},
#include "reasons.def"
#undef REASON
};

static void put_addr(struct tp_text *text, const char *before, struct tp_addr addr)
{
	addr = tp_addr_unmap(addr);
	tp_text_put(text, before);
	tp_text_put_addr(text, &addr);
}

static void put_sender(struct tp_text *text, const char *before,
		       const struct tp_connection *connection)
{
	char path[TP_LOCAL_PATH];
	if (connection->sender.any.sa_family == AF_UNIX) {
		tp_text_put(text, before);
		tp_text_put(text, "a local program on ");
		tp_text_put_quoted(text, path, tp_local_path(connection->fd, path));
		return;
	}
	put_addr(text, before, tp_addr_from_kernel(&connection->sender));
	put_addr(text, " on ", tp_local_addr(connection->fd));
}

static void put_reason(struct tp_text *text, enum tp_reason reason,
		       const struct tp_reception *reception)
{
	tp_text_put(text, ": ");
	tp_text_put(text, reason == TP_REASON_MALFORMED && reception
				  ? reception->reason
				  : reasons[reason].words);
}

/* What was sent, and what that gives away. */
static void put_sample(struct tp_text *text, const struct tp_reception *reception)
{
	size_t len = reception->seen < SAMPLE ? reception->seen : SAMPLE;
	if (!len)
		return;
	const char *hint = tp_hint(reception->bytes, len);
	tp_text_put(text, "; it begins ");
	tp_text_put_quoted(text, reception->bytes, len);
	tp_text_put(text, hint ? ", " : "");
	tp_text_put(text, hint ? hint : "");
}

/* Cut short, so that a long name which a stranger has chosen leaves room for the others.
 */
static void put_field(struct tp_text *text, const char *name, const uint8_t *value,
		      size_t len)
{
	tp_text_put(text, " ");
	tp_text_put(text, name);
	tp_text_put(text, "=");
	tp_text_put_quoted(text, value, len < FIELD ? len : FIELD);
	tp_text_put(text, len > FIELD ? "..." : "");
}

/* Section 2.2.6. A name in a certificate counts only when that was verified. */
static void put_tls(struct tp_text *text, const struct tp_tlv *tls)
{
	static const uint8_t zero[4];
	struct tp_tlv field;
	size_t at = VERIFIED;
	if (tls->length < VERIFIED)
		return;
	bool verified = tls->value[0] & CERTIFICATES && !memcmp(tls->value + 1, zero, 4);
	while (tp_tlv_next(tls->value, tls->length, &at, &field)) {
		if (field.type == TP_TLV_SSL_VERSION)
			put_field(text, "tls", field.value, field.length);
		if (field.type == TP_TLV_SSL_CIPHER)
			put_field(text, "cipher", field.value, field.length);
		if (field.type == TP_TLV_SSL_CN && verified)
			put_field(text, "verified-cn", field.value, field.length);
	}
}

static void put_tlv(struct tp_text *text, const struct tp_tlv *tlv)
{
	if (tlv->type == TP_TLV_UNIQUE_ID)
		put_field(text, "unique-id", tlv->value, tlv->length);
	if (tlv->type == TP_TLV_AUTHORITY)
		put_field(text, "authority", tlv->value, tlv->length);
	if (tlv->type == TP_TLV_ALPN)
		put_field(text, "alpn", tlv->value, tlv->length);
	if (tlv->type == TP_TLV_SSL)
		put_tls(text, tlv);
	if (tlv->type == TP_TLV_AWS && tlv->length && tlv->value[0] == TP_TLV_AWS_VPCE)
		put_field(text, "vpc-endpoint", tlv->value + 1, tlv->length - 1u);
}

/* The tail of a header too long to be kept ends within a TLV: most often TLS, with a
 * certificate behind the names. */
static void put_tlvs(struct tp_text *text, const struct tp_header *header)
{
	size_t at = 0, len = header->tlvs ? header->tlvs_length : 0;
	struct tp_tlv tlv;
	while (tp_tlv_next(header->tlvs, len, &at, &tlv))
		put_tlv(text, &tlv);
	if (len - at <= TP_TLV_HEAD)
		return;
	tlv.length = (uint16_t)(len - at - TP_TLV_HEAD);
	if (tlv.type == TP_TLV_SSL)
		put_tls(text, &tlv);
}

static void tell_refused(const struct tp_connection *connection, enum tp_reason reason,
			 const struct tp_reception *reception)
{
	struct tp_text text = {0};
	put_sender(&text, "refused ", connection);
	put_reason(&text, reason, reception);
	if (reception)
		put_sample(&text, reception);
	if (reason == TP_REASON_SILENT && connection->sender.any.sa_family != AF_UNIX)
		tp_text_put(&text, "; an AWS NLB sends it with the client's first data, "
				   "unless proxy_protocol_v2.client_to_server."
				   "header_placement is on_first_ack");
	tp_log(reasons[reason].level, &text);
}

static void tell_client(const struct tp_connection *connection,
			const struct tp_header *header)
{
	struct tp_text text = {0};
	put_addr(&text, "client ", connection->peer.client);
	put_sender(&text, " by way of ", connection);
	put_addr(&text, " to ", connection->peer.destination);
	put_tlvs(&text, header);
	tp_log(TP_LOG_INFO, &text);
}

static void tell_served(const struct tp_connection *connection, enum tp_outcome outcome,
			enum tp_reason reason)
{
	struct tp_text text = {0};
	put_sender(&text, "client ", connection);
	if (outcome == TP_OUTCOME_UNTRUSTED)
		reason = TP_REASON_UNTRUSTED;
	put_reason(&text, reason, NULL);
	tp_log(TP_LOG_INFO, &text);
}

/* Once for each pair, as long as not too many others come between. */
static void tell_pseudo(const struct tp_peer *peer)
{
	static _Atomic uint32_t told[1024];
	struct tp_text text = {0};
	struct tp_addr pseudo = tp_peer_pseudo(&peer->client);
	uint32_t number;
	memcpy(&number, pseudo.ip, sizeof number);
	if (atomic_exchange(&told[ntohl(number) % 1024], number) == number)
		return;
	put_addr(&text, "client ", peer->client);
	put_addr(&text, " is reported as ", pseudo);
	tp_text_put(&text, ", as the listener is IPv4 only; let it listen on [::]");
	tp_log(TP_LOG_WARNING, &text);
}

static void tell(const struct tp_connection *connection, enum tp_outcome outcome,
		 enum tp_reason reason, const struct tp_reception *reception)
{
	const struct tp_peer *peer = &connection->peer;
	if (outcome == TP_OUTCOME_REJECTED) {
		if (tp_log_wants(reasons[reason].level))
			tell_refused(connection, reason, reception);
		return;
	}
	if (outcome == TP_OUTCOME_PROXIED && peer->client.family == AF_INET6 &&
	    connection->sender.any.sa_family == AF_INET && peer->report == TP_PEER_PLAIN)
		tell_pseudo(peer);
	if (!tp_log_wants(TP_LOG_INFO))
		return;
	if (outcome == TP_OUTCOME_PROXIED)
		tell_client(connection, &reception->header);
	else
		tell_served(connection, outcome, reason);
}

bool tp_events_wanted(void)
{
	return tp_stats_on() || tp_log_wants(TP_LOG_INFO);
}

void tp_event_arrived(struct tp_connection *connection, int listener)
{
	if (!tp_stats_on())
		return;
	struct tp_addr name =
		tp_addr_unmap(tp_local_addr(listener < 0 ? connection->fd : listener));
	connection->place = tp_stats_place(&name);
}

static void count(const struct tp_connection *connection, enum tp_outcome outcome,
		  enum tp_reason reason, const struct tp_reception *reception)
{
	if (!tp_stats_on())
		return;
	tp_stats_count(connection->place, outcome, reason);
	if (outcome != TP_OUTCOME_REJECTED && reception)
		tp_stats_count_wait(connection->place,
				    connection->arrived_ms
					    ? tp_clock_ms() - connection->arrived_ms
					    : 0);
}

void tp_event(const struct tp_connection *connection, enum tp_outcome outcome,
	      enum tp_reason reason, const struct tp_reception *reception)
{
	count(connection, outcome, reason, reception);
	tell(connection, outcome, reason, reception);
}

void tp_event_parked(const struct tp_connection *connection)
{
	tp_stats_count_parked(connection->deadline_ms, 1);
}

void tp_event_unparked(const struct tp_connection *connection)
{
	tp_stats_count_parked(connection->deadline_ms, -1);
}
