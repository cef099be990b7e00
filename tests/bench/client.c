/* SPDX-License-Identifier: MIT */
/*
 * Clients for tests/bench, and what a balancer would send for them.
 *
 *   client churn PORT WINDOW SECONDS HEADER PAYLOAD REPLY
 *       opens WINDOW connections and writes on each, then waits until the server has
 *       closed them all, again and again; the reply to each must contain REPLY. Prints
 *       how many there were, and the seconds. With a WINDOW of 0 it is one connection at
 *       a time, and the server has met it before anything is sent (where both share a
 *       core and sched_setscheduler(2) has made them SCHED_FIFO).
 *   client hold PORT COUNT HEADER PAYLOAD
 *       opens COUNT connections and writes on each; if there is a PAYLOAD, waits for the
 *       answer. Prints "held", and keeps them until it is killed.
 *
 * HEADER is none, v1, v2, or half (of a v2), in one piece with the PAYLOAD. The client
 * that it names is 127.1.2.3, from another port each time.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_WINDOW 256
#define FIRST_PORT 10000 /* of five digits, as they all are */
#define PORTS 50000
#define OF_ONE_ADDRESS 5000 /* connections */
#define ANY (-1)
#define HALF 16

/* What is sent: it is the same each time but for the port. */
struct message {
	char bytes[512];
	size_t len, port_at;
	int version;
	unsigned count;
};

static size_t put(struct message *message, const char *bytes, size_t len)
{
	if (message->len + len > sizeof message->bytes)
		errx(2, "too much to send");
	memcpy(message->bytes + message->len, bytes, len);
	return message->len += len;
}

static struct message compose(const char *header, const char *payload)
{
	static const char v1[] = "PROXY TCP4 127.1.2.3 127.0.0.1 00000 25\r\n";
	static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\1\2\3\x7f\0\0\1"
				 "\0\0\0\x19";
	struct message message = {0};
	if (!strcmp(header, "v1")) {
		message.version = 1;
		message.port_at = sizeof "PROXY TCP4 127.1.2.3 127.0.0.1 " - 1;
		put(&message, v1, sizeof v1 - 1);
	} else if (!strcmp(header, "v2")) {
		message.version = 2;
		message.port_at = put(&message, v2, sizeof v2 - 1) - 4;
	} else if (!strcmp(header, "half")) {
		put(&message, v2, HALF);
	} else if (strcmp(header, "none")) {
		errx(2, "%s: not a header", header);
	}
	put(&message, payload, strlen(payload));
	return message;
}

static void next_port(struct message *message)
{
	unsigned port = FIRST_PORT + message->count++ % PORTS;
	char *at = message->bytes + message->port_at;
	if (message->version == 2) {
		at[0] = (char)(port >> 8);
		at[1] = (char)port;
	}
	for (int digit = 4; message->version == 1 && digit >= 0; digit--, port /= 10)
		at[digit] = (char)('0' + port % 10);
}

/* Those that stay leave the ports of 127.0.0.1 to others, and have few of any address:
 * the kernel shall not have to search. */
static void choose_source(int fd, unsigned nth)
{
	struct sockaddr_in source = {.sin_family = AF_INET,
				     .sin_addr.s_addr =
					     htonl(0x7f000101 + nth / OF_ONE_ADDRESS)};
	int on = 1;
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) ||
	    bind(fd, (struct sockaddr *)&source, sizeof source))
		err(1, "bind");
}

static int call(uint16_t port, struct message *message, long nth, bool late)
{
	struct sockaddr_in server = {.sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		err(1, "socket");
	if (nth != ANY)
		choose_source(fd, (unsigned)nth);
	if (connect(fd, (struct sockaddr *)&server, sizeof server))
		err(1, "connect");
	if (late)
		sched_yield();
	next_port(message);
	if (message->len &&
	    send(fd, message->bytes, message->len, 0) != (ssize_t)message->len)
		err(1, "send");
	return fd;
}

static void read_reply(int fd, const char *wanted)
{
	char reply[4096];
	size_t len = 0;
	ssize_t n;
	while ((n = recv(fd, reply + len, sizeof reply - len, 0)) > 0)
		len += (size_t)n;
	if (n < 0)
		err(1, "recv");
	if (!memmem(reply, len, wanted, strlen(wanted)))
		errx(1, "the reply is without \"%s\": %.*s", wanted, (int)len, reply);
	close(fd);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int churn(uint16_t port, int window, double seconds, struct message message,
		 const char *reply)
{
	int fds[MAX_WINDOW];
	long count = 0;
	double start = now(), end;
	bool late = !window;
	if (window < 0 || window > MAX_WINDOW)
		errx(2, "a window of %d", window);
	window += late;
	do {
		for (int i = 0; i < window; i++)
			fds[i] = call(port, &message, ANY, late);
		for (int i = 0; i < window; i++)
			read_reply(fds[i], reply);
		count += window;
	} while ((end = now()) < start + seconds);
	printf("%ld %f\n", count, end - start);
	return 0;
}

static int hold(uint16_t port, unsigned count, struct message message, bool answered)
{
	char answer[64];
	for (unsigned i = 0; i < count; i++) {
		int fd = call(port, &message, i, false);
		if (answered && recv(fd, answer, sizeof answer, 0) <= 0)
			err(1, "recv");
	}
	puts("held");
	fflush(stdout);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	if (argc == 8 && !strcmp(argv[1], "churn"))
		return churn((uint16_t)atoi(argv[2]), atoi(argv[3]), atof(argv[4]),
			     compose(argv[5], argv[6]), argv[7]);
	if (argc == 6 && !strcmp(argv[1], "hold"))
		return hold((uint16_t)atoi(argv[2]), (unsigned)atoi(argv[3]),
			    compose(argv[4], argv[5]), *argv[5]);
	errx(2, "usage: client churn PORT WINDOW SECONDS HEADER PAYLOAD REPLY\n"
		"       client hold PORT COUNT HEADER PAYLOAD");
}
