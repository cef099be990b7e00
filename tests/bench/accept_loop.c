/* SPDX-License-Identifier: MIT */
/*
 * A bare accept loop and its client, for tests/bench/run.
 *
 *   accept_loop server              prints its port; accepts, reads, closes
 *   accept_loop client PORT N KIND  N connections one after the other, each with the
 * header of KIND (none, v1, v2) and one byte, in one piece; prints connections per second
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char v1[] = "PROXY TCP4 192.0.2.1 192.0.2.2 56324 25\r\nx";
static const char v2[] =
	"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\0\x19x";

/* Both on one core: what is measured is work, not how two cores wake each other. */
static void pin(void)
{
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (sched_setaffinity(0, sizeof cpus, &cpus))
		warn("sched_setaffinity");
}

/*
 * The server does not push the client aside the moment a connection is there, so that
 * the client's bytes have arrived when accept returns, as they have on a busy server.
 */
static void be_patient(void)
{
	struct sched_param none = {0};
	if (sched_setscheduler(0, SCHED_BATCH, &none))
		warn("sched_setscheduler");
}

static int serve(void)
{
	be_patient();
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof addr;
	char buf[256];
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, 128) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len))
		err(1, "listen");
	printf("%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	for (;;) {
		struct sockaddr_in peer;
		len = sizeof peer;
		int fd = accept(listener, (struct sockaddr *)&peer, &len);
		if (fd < 0)
			err(1, "accept");
		if (recv(fd, buf, sizeof buf, 0) <= 0)
			warn("recv");
		close(fd);
	}
}

static void visit(const struct sockaddr_in *addr, const char *bytes, size_t len)
{
	char byte;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (const struct sockaddr *)addr, sizeof *addr))
		err(1, "connect");
	if (send(fd, bytes, len, 0) != (ssize_t)len)
		err(1, "send");
	(void)!recv(fd, &byte, 1, 0);
	close(fd);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int visit_all(const char *port, long count, const char *kind)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)atoi(port)),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const char *bytes = "x";
	size_t len = 1;
	if (!strcmp(kind, "v1")) {
		bytes = v1;
		len = sizeof v1 - 1;
	} else if (!strcmp(kind, "v2")) {
		bytes = v2;
		len = sizeof v2 - 1;
	}
	double start = now();
	for (long i = 0; i < count; i++)
		visit(&addr, bytes, len);
	printf("%.0f\n", (double)count / (now() - start));
	return 0;
}

int main(int argc, char **argv)
{
	pin();
	if (argc == 2 && !strcmp(argv[1], "server"))
		return serve();
	if (argc == 5 && !strcmp(argv[1], "client"))
		return visit_all(argv[2], atol(argv[3]), argv[4]);
	errx(2, "usage: accept_loop server | client PORT N none|v1|v2");
}
