/* SPDX-License-Identifier: MIT */
/*
 * What single calls cost, for tests/bench.
 *
 *   calls NAME COUNT    does it so many times; prints nanoseconds per call
 *
 * Before that it prints where accept comes from. The calls are made in one_call(), which
 * is what callgrind is told to count in.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <err.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64 /* calls between two looks at the clock */

static const char header[] =
	"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\1\2\3\x7f\0\0\1\x27\x10\0\x19";

/* What the calls are made on. */
static int subject, set;
static struct sockaddr_storage name;
static socklen_t name_len;
static struct pollfd polled;

/* The other ends, and the addresses, of a batch of accepted connections. */
static int clients[BATCH], accepted[BATCH];
static struct sockaddr_in peers[BATCH];

static int call_getpeername(int nth)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;
	(void)nth;
	return getpeername(subject, (struct sockaddr *)&peer, &len);
}

static int call_poll(int nth)
{
	(void)nth;
	return poll(&polled, 1, 0);
}

static int call_epoll_ctl(int nth)
{
	struct epoll_event event = {.events = nth % 2 ? EPOLLIN : EPOLLOUT};
	return epoll_ctl(set, EPOLL_CTL_MOD, subject, &event);
}

static int call_accept(int nth)
{
	socklen_t len = sizeof peers[nth];
	return accepted[nth] = accept(subject, (struct sockaddr *)&peers[nth], &len);
}

/* With the child's end. */
static int call_fork(int nth)
{
	(void)nth;
	pid_t child = fork();
	if (!child)
		_exit(0);
	return waitpid(child, NULL, 0);
}

static void nothing(void)
{
}

static void make_listener(int family, void *addr, socklen_t len)
{
	subject = socket(family, SOCK_STREAM, 0);
	name_len = sizeof name;
	if (bind(subject, addr, len) || listen(subject, BATCH) ||
	    getsockname(subject, (struct sockaddr *)&name, &name_len))
		err(1, "listen");
}

static void listen_tcp(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	make_listener(AF_INET, &addr, sizeof addr);
}

static void listen_unix(void)
{
	sa_family_t unnamed = AF_UNIX; /* the kernel finds a name */
	make_listener(AF_UNIX, &unnamed, sizeof unnamed);
}

static int connect_one(void)
{
	int fd = socket(name.ss_family, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&name, name_len))
		err(1, "connect");
	return fd;
}

static void connect_batch(void)
{
	for (int i = 0; i < BATCH; i++)
		clients[i] = connect_one();
}

static void send_headers(void)
{
	connect_batch();
	for (int i = 0; i < BATCH; i++)
		if (send(clients[i], header, sizeof header - 1, 0) < 0)
			err(1, "send");
}

/* The clients first, with a reset: nothing stays in TIME_WAIT. */
static void close_batch(void)
{
	const struct linger now = {.l_onoff = 1, .l_linger = 0};
	for (int i = 0; i < BATCH; i++) {
		setsockopt(clients[i], SOL_SOCKET, SO_LINGER, &now, sizeof now);
		close(clients[i]);
		close(accepted[i]);
	}
}

static void check_names(void)
{
	for (int i = 0; i < BATCH; i++)
		if (peers[i].sin_addr.s_addr != inet_addr("127.1.2.3"))
			errx(1, "the client is %s", inet_ntoa(peers[i].sin_addr));
	close_batch();
}

static void accept_one(void)
{
	listen_tcp();
	clients[0] = connect_one();
	subject = accept(subject, NULL, NULL);
}

static void make_pipe(void)
{
	int ends[2];
	if (pipe(ends))
		err(1, "pipe");
	subject = ends[0];
	polled = (struct pollfd){.fd = subject, .events = POLLIN};
}

static void make_set(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	make_pipe();
	set = epoll_create1(0);
	if (epoll_ctl(set, EPOLL_CTL_ADD, subject, &event))
		err(1, "epoll_ctl");
}

static const struct kind {
	const char *name;
	void (*prepare)(void), (*before)(void);
	int (*call)(int nth);
	void (*after)(void);
} kinds[] = {
	{"getpeername", accept_one, nothing, call_getpeername, nothing},
	{"poll", make_pipe, nothing, call_poll, nothing},
	{"epoll_ctl", make_set, nothing, call_epoll_ctl, nothing},
	{"fork", listen_tcp, nothing, call_fork, nothing},
	{"accept-unix", listen_unix, connect_batch, call_accept, close_batch},
	{"accept-tcp", listen_tcp, connect_batch, call_accept, close_batch},
	{"accept-header", listen_tcp, send_headers, call_accept, check_names},
};

__attribute__((noipa)) static int one_call(const struct kind *kind, int nth)
{
	return kind->call(nth);
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double time_batch(const struct kind *kind)
{
	double start;
	kind->before();
	start = now_ns();
	for (int i = 0; i < BATCH; i++)
		if (one_call(kind, i) < 0)
			err(1, "%s", kind->name);
	start = now_ns() - start;
	kind->after();
	return start;
}

static void say_where_from(void)
{
	Dl_info info;
	if (!dladdr(dlsym(RTLD_DEFAULT, "accept"), &info))
		errx(1, "no accept");
	printf("%s\n", info.dli_fname);
}

static int in_order(const void *one, const void *other)
{
	const double a = *(const double *)one, b = *(const double *)other;
	return (a > b) - (a < b);
}

/* Of a call, in the median batch: what else the machine did meanwhile is in few. */
static double measure(const struct kind *kind, long batches)
{
	double *ns = calloc((size_t)batches, sizeof *ns), median;
	if (!ns)
		err(1, "calloc");
	for (long i = 0; i < batches; i++)
		ns[i] = time_batch(kind);
	qsort(ns, (size_t)batches, sizeof *ns, in_order);
	median = (ns[(batches - 1) / 2] + ns[batches / 2]) / 2 / BATCH;
	free(ns);
	return median;
}

int main(int argc, char **argv)
{
	long batches = argc == 3 ? (atol(argv[2]) + BATCH - 1) / BATCH : 0;
	const struct kind *kind = kinds, *end = kinds + sizeof kinds / sizeof *kinds;
	while (batches > 0 && kind < end && strcmp(kind->name, argv[1]))
		kind++;
	if (batches <= 0 || kind == end)
		errx(2, "usage: calls NAME COUNT");
	say_where_from();
	kind->prepare();
	printf("%.1f\n", measure(kind, batches));
	return 0;
}
