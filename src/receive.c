/* SPDX-License-Identifier: MIT */
#include "receive.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

static ssize_t peek(int fd, void *buf, size_t size)
{
	ssize_t n;
	do
		n = recv(fd, buf, size, MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

/*
 * MSG_TRUNC on TCP discards without copying (tcp(7)); AF_UNIX streams know no MSG_TRUNC
 * and copy the bytes into buf, which holds the same already.
 */
static bool consume(int fd, uint8_t *buf, size_t length)
{
	while (length) {
		ssize_t n = recv(fd, buf, length, MSG_TRUNC | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		length -= (size_t)n;
	}
	return true;
}

static enum tp_received look(int fd, const struct tp_header_limits *limits, uint8_t *buf,
			     size_t size, struct tp_reception *reception)
{
	struct tp_header *header = &reception->header;
	ssize_t n = peek(fd, buf, size);
	if (n < 0 && errno == EAGAIN) {
		n = 0;
		reception->need = 1;
	} else if (n < 0) {
		return errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT
			       ? TP_RECEIVED_END
			       : TP_RECEIVED_FAILED;
	} else if (n == 0) {
		return TP_RECEIVED_END;
	}
	reception->seen = (size_t)n;
	switch (tp_header_parse_within(buf, reception->seen, limits, header)) {
	case TP_MORE:
		reception->need = header->length;
		return TP_RECEIVED_MORE;
	case TP_NONE:
		return TP_RECEIVED_NONE;
	case TP_BAD:
		reception->reason = header->reason;
		return TP_RECEIVED_BAD;
	case TP_DONE:
		break;
	}
	return consume(fd, buf, header->length) ? TP_RECEIVED_HEADER : TP_RECEIVED_FAILED;
}

/* From a buffer that is about to go into the bytes that stay, which hold the start of it.
 */
static void move_pointers(struct tp_reception *reception, const uint8_t *buf)
{
	struct tp_header *header = &reception->header;
	if (header->unix_paths)
		header->unix_paths = reception->bytes + (header->unix_paths - buf);
	if (!header->tlvs)
		return;
	header->tlvs = reception->bytes + (header->tlvs - buf);
	header->tlvs_length = (size_t)(reception->bytes + TP_USUAL_HEADER - header->tlvs);
}

/* A header that is longer than the usual: through a buffer of its own, for this once. */
static enum tp_received look_at_long(int fd, const struct tp_header_limits *limits,
				     struct tp_reception *reception)
{
	size_t size = reception->need;
	void *buf = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (buf == MAP_FAILED)
		return TP_RECEIVED_FAILED;
	enum tp_received received = look(fd, limits, buf, size, reception);
	move_pointers(reception, buf);
	munmap(buf, size);
	return received;
}

enum tp_received tp_receive(int fd, const struct tp_header_limits *limits,
			    struct tp_reception *reception)
{
	memset(reception, 0, offsetof(struct tp_reception, bytes));
	enum tp_received received =
		look(fd, limits, reception->bytes, TP_USUAL_HEADER, reception);
	if (received == TP_RECEIVED_MORE && reception->seen == TP_USUAL_HEADER)
		received = look_at_long(fd, limits, reception);
	return received;
}
