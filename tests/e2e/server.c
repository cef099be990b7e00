/* SPDX-License-Identifier: MIT */
/*
 * A server for the end-to-end tests. It tells every client, in one line, who
 * it takes the client for, and then echoes what it receives. It knows nothing
 * of the PROXY protocol, and speaks first, as a mail server does.
 *
 *	server MODE [-6] [-a ADDRESS] [-p PORT] [-l LISTENER]
 *
 * The modes differ in how the connection is accepted and by whom it is served.
 * -l takes a listener that somebody else made, by its descriptor.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BACKLOG = 512, THREADS = 4, CONNECTIONS = 512 };

/* Epoll data of the listener; connections have their descriptor. */
#define LISTENER 0xfeedc0dedeadbeefULL

struct name {
	char text[INET6_ADDRSTRLEN + 16];
};

static const struct name unknown = {"-"};

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

/* What the tests compare: "inet 192.0.2.1 56324". */
static struct name name_print(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	char host[INET6_ADDRSTRLEN];
	struct name name;

	switch (address->ss_family) {
	case AF_INET:
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(name.text, sizeof(name.text), "inet %s %d", host,
			 ntohs(in->sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(name.text, sizeof(name.text), "inet6 %s %d", host,
			 ntohs(in6->sin6_port));
		break;
	default:
		snprintf(name.text, sizeof(name.text), "family %d", address->ss_family);
	}
	return name;
}

static struct name name_of_peer(int fd)
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);
	struct name name;

	if (getpeername(fd, (struct sockaddr *)&address, &length) == 0)
		return name_print(&address);
	snprintf(name.text, sizeof(name.text), "%.40s", strerror(errno));
	return name;
}

/* ---- one connection ---- */

static void wait_for(int fd, short events)
{
	poll(&(struct pollfd){.fd = fd, .events = events}, 1, -1);
}

static bool send_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n >= 0) {
			data += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			wait_for(fd, POLLOUT);
		} else if (errno != EINTR) {
			return false;
		}
	}
	return true;
}

static void report(int fd, struct name accepted, const char *more)
{
	char line[256];
	int n = snprintf(line, sizeof(line), "accept=%s peer=%s%s\n", accepted.text,
			 name_of_peer(fd).text, more);

	send_all(fd, line, (size_t)n);
}

/* Echoes what is there; false at the end of the connection. */
static bool echo(int fd)
{
	char data[16384];
	ssize_t n = read(fd, data, sizeof(data));

	if (n > 0)
		return send_all(fd, data, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void serve(int fd, struct name accepted)
{
	report(fd, accepted, "");
	while (echo(fd))
		;
	close(fd);
}

/* ---- accepting ---- */

/* Returns -1 when a non-blocking listener has nothing to give. */
static int take(int listener, struct name *name)
{
	for (;;) {
		struct sockaddr_storage address = {0};
		socklen_t length = sizeof(address);
		int fd = accept(listener, (struct sockaddr *)&address, &length);

		if (fd >= 0) {
			*name = name_print(&address);
			return fd;
		}
		if (errno == EAGAIN)
			return -1;
		if (errno != EINTR && errno != ECONNABORTED)
			die("accept");
	}
}

/* On a blocking listener EAGAIN is as wrong as any other error. */
static int take_or_die(int listener, struct name *name)
{
	int fd = take(listener, name);

	if (fd < 0)
		die("accept");
	return fd;
}

static void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void *mode_loop_thread(void *listener)
{
	struct name name;

	for (;;) {
		int fd = take_or_die(*(int *)listener, &name);

		serve(fd, name);
	}
	return NULL;
}

static void mode_loop(int listener)
{
	mode_loop_thread(&listener);
}

static void mode_threads(int listener)
{
	pthread_t thread;

	for (int i = 1; i < THREADS; i++)
		if ((errno = pthread_create(&thread, NULL, mode_loop_thread,
					    &listener)) != 0)
			die("pthread_create");
	mode_loop_thread(&listener);
}

static void mode_fork(int listener)
{
	struct name name;

	for (;;) {
		int fd = take_or_die(listener, &name);

		if (fork() == 0) {
			die_with_parent();
			close(listener);
			serve(fd, name);
			_exit(0);
		}
		close(fd);
	}
}

/* This program to execute, or what runs it under a tool. */
static const char *self(void)
{
	return getenv("SELF") ? getenv("SELF") : "/proc/self/exe";
}

/* inetd: the child is another program, and has the connection as standard input. */
static void mode_exec(int listener)
{
	struct name name;

	for (;;) {
		int fd = take_or_die(listener, &name);

		if (fork() == 0) {
			die_with_parent();
			dup2(fd, 0);
			if (fd != 0)
				close(fd);
			close(listener);
			execl(self(), "server", "child", (char *)NULL);
			_exit(1);
		}
		close(fd);
	}
}

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void descriptor_send(int channel, int fd)
{
	union control control = {{0}};
	struct iovec byte = {.iov_base = (char[]){0}, .iov_len = 1};
	struct msghdr message = {.msg_iov = &byte,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	if (sendmsg(channel, &message, 0) != 1)
		die("sendmsg");
}

static int descriptor_receive(int channel)
{
	union control control;
	struct iovec byte = {.iov_base = (char[1]){0}, .iov_len = 1};
	struct msghdr message = {.msg_iov = &byte,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	int fd;

	if (recvmsg(channel, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == NULL)
		_exit(0);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* The worker is there before the first connection, and gets each as a message. */
static void mode_pass(int listener)
{
	int channel[2];
	struct name name;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel) != 0)
		die("socketpair");
	if (fork() == 0) {
		die_with_parent();
		close(listener);
		close(channel[0]);
		for (;;)
			serve(descriptor_receive(channel[1]), unknown);
	}
	close(channel[1]);
	for (;;) {
		int fd = take_or_die(listener, &name);

		descriptor_send(channel[0], fd);
		close(fd);
	}
}

static const char *flags_print(int fd)
{
	bool cloexec = fcntl(fd, F_GETFD) & FD_CLOEXEC;
	bool nonblock = fcntl(fd, F_GETFL) & O_NONBLOCK;

	return cloexec && nonblock ? "cloexec,nonblock"
	       : cloexec	   ? "cloexec"
	       : nonblock	   ? "nonblock"
				   : "none";
}

static void mode_accept4(int listener)
{
	for (;;) {
		struct sockaddr_storage address = {0};
		socklen_t length = sizeof(address);
		char flags[64];
		int fd = accept4(listener, (struct sockaddr *)&address, &length,
				 SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			die("accept4");
		snprintf(flags, sizeof(flags), " flags=%s listener=%s", flags_print(fd),
			 flags_print(listener));
		report(fd, name_print(&address), flags);
		do
			wait_for(fd, POLLIN);
		while (echo(fd));
		close(fd);
	}
}

static void make_nonblocking(int fd)
{
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
		die("fcntl");
}

static void poll_loop(int listener)
{
	struct pollfd set[1 + CONNECTIONS] = {{.fd = listener, .events = POLLIN}};
	bool blocking = !(fcntl(listener, F_GETFL) & O_NONBLOCK);
	nfds_t count = 1;
	struct name name;

	for (;;) {
		if (poll(set, count, -1) < 0)
			die("poll");
		for (nfds_t i = count; --i > 0;)
			if (set[i].revents != 0 && !echo(set[i].fd)) {
				close(set[i].fd);
				set[i] = set[--count];
			}
		if (set[0].revents == 0)
			continue;
		for (int fd; count <= CONNECTIONS && (fd = take(listener, &name)) >= 0;) {
			report(fd, name, "");
			set[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
			if (blocking)
				break;
		}
	}
}

static void mode_poll(int listener)
{
	make_nonblocking(listener);
	poll_loop(listener);
}

static void mode_select(int listener)
{
	fd_set open, ready;
	struct name name;

	FD_ZERO(&open);
	FD_SET(listener, &open);
	for (;;) {
		int count, left;

		ready = open;
		left = count = select(FD_SETSIZE, &ready, NULL, NULL, NULL);
		if (count < 1)
			die("select");
		for (int fd = 0; fd < FD_SETSIZE; fd++) {
			if (!FD_ISSET(fd, &ready))
				continue;
			left--;
			if (fd == listener) {
				int new = take_or_die(listener, &name);

				report(new, name, "");
				FD_SET(new, &open);
			} else if (!echo(fd)) {
				FD_CLR(fd, &open);
				close(fd);
			}
		}
		if (left != 0)
			die("select counts wrong");
	}
}

/* ---- epoll: how the listener is watched, and by how many threads ---- */

struct watch {
	int set, listener;
	bool blocking;	      /* the listener */
	uint32_t events;      /* of the listener */
	uint32_t connections; /* and of the connections */
};

/* A connection goes from thread to thread through the kernel, which ThreadSanitizer does
 * not see: here it does. */
static atomic_uint turns[FD_SETSIZE * 8];

static void watch_set(const struct watch *watch, int op, int fd)
{
	bool listens = fd == watch->listener;
	struct epoll_event event = {.events = listens ? watch->events : watch->connections,
				    .data.u64 = listens ? LISTENER : (uint64_t)fd};

	if (!listens && fd < FD_SETSIZE * 8)
		turns[fd]++;
	if (epoll_ctl(watch->set, op, fd, &event) != 0)
		die("epoll_ctl");
}

static void watch_accept(const struct watch *watch)
{
	struct name name;

	for (int fd; (fd = take(watch->listener, &name)) >= 0;) {
		report(fd, name, "");
		watch_set(watch, EPOLL_CTL_ADD, fd);
		if (watch->blocking)
			break;
	}
	if (watch->events & EPOLLONESHOT)
		watch_set(watch, EPOLL_CTL_MOD, watch->listener);
}

static void *watch_run(void *argument)
{
	const struct watch *watch = argument;
	struct epoll_event event;

	for (;;) {
		if (epoll_wait(watch->set, &event, 1, -1) < 1)
			die("epoll_wait");
		if (event.data.u64 == LISTENER)
			watch_accept(watch);
		else if (event.data.u64 >= FD_SETSIZE * 8)
			die("epoll data of nobody");
		else if (turns[event.data.u64] == 0 || !echo((int)event.data.u64))
			close((int)event.data.u64);
		else if (watch->connections & EPOLLONESHOT)
			watch_set(watch, EPOLL_CTL_MOD, (int)event.data.u64);
	}
	return NULL;
}

static struct watch watch_new(int listener, uint32_t events)
{
	struct watch watch = {epoll_create1(EPOLL_CLOEXEC), listener,
			      !(fcntl(listener, F_GETFL) & O_NONBLOCK), EPOLLIN | events, EPOLLIN};

	watch_set(&watch, EPOLL_CTL_ADD, listener);
	return watch;
}

static void mode_epoll(int listener)
{
	make_nonblocking(listener);
	watch_run((struct watch[]){watch_new(listener, 0)});
}

static void mode_epoll_blocking(int listener)
{
	watch_run((struct watch[]){watch_new(listener, 0)});
}

static void mode_epoll_edge(int listener)
{
	make_nonblocking(listener);
	watch_run((struct watch[]){watch_new(listener, EPOLLET)});
}

static void mode_epoll_oneshot(int listener)
{
	make_nonblocking(listener);
	watch_run((struct watch[]){watch_new(listener, EPOLLONESHOT)});
}

/* Every thread has a set of its own, and all hold the listener. */
static void epoll_threads(int listener, int count, uint32_t events)
{
	static struct watch watches[THREADS];
	pthread_t thread;

	make_nonblocking(listener);
	for (int i = 0; i < count; i++)
		watches[i] = watch_new(listener, events);
	for (int i = 1; i < count; i++)
		if ((errno = pthread_create(&thread, NULL, watch_run, &watches[i])) != 0)
			die("pthread_create");
	watch_run(&watches[0]);
}

static void mode_epoll_exclusive(int listener)
{
	epoll_threads(listener, THREADS, EPOLLEXCLUSIVE);
}

static void mode_epoll_two(int listener)
{
	epoll_threads(listener, 2, 0);
}

/* Every thread waits on the one set. */
static void mode_epoll_shared(int listener)
{
	static struct watch watch;
	pthread_t thread;

	make_nonblocking(listener);
	watch = watch_new(listener, 0);
	watch.connections = EPOLLIN | EPOLLONESHOT;
	for (int i = 1; i < THREADS; i++)
		if ((errno = pthread_create(&thread, NULL, watch_run, &watch)) != 0)
			die("pthread_create");
	watch_run(&watch);
}

/* Processes that wait in accept, all on one listener. */
static void mode_prefork(int listener)
{
	for (int i = 1; i < THREADS; i++)
		if (fork() == 0) {
			die_with_parent();
			break;
		}
	mode_loop_thread(&listener);
}

/* Every way to start a program that libc has. */
static void become(int way, const char *path, char *const argv[])
{
	pid_t pid;

	if (way == 0)
		execv(path, argv);
	else if (way == 1)
		execl(path, argv[0], argv[1], argv[2], argv[3], NULL);
	else if (way == 2)
		execle(path, argv[0], argv[1], argv[2], argv[3], NULL, environ);
	else if (posix_spawn(&pid, path, NULL, NULL, argv, environ) == 0)
		wait(NULL);
}

/* The same, but each is a program of its own: the listener is all that they have in common. */
static void mode_prefork_exec(int listener)
{
	char number[16], *argv[] = {"server", "-l", number, "loop", NULL};

	snprintf(number, sizeof(number), "%d", listener);
	for (int i = 0; i < THREADS; i++)
		if (fork() == 0) {
			die_with_parent();
			fcntl(listener, F_SETFD, 0);
			become(i, self(), argv);
			_exit(1);
		}
	wait(NULL); /* for all, as SIGCHLD is ignored */
	exit(1);
}

/* ---- starting ---- */

static int listener_open(bool six, const char *address, unsigned short port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (six)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, sizeof(int));
	if (inet_pton(six ? AF_INET6 : AF_INET, address,
		      six ? (void *)&in6.sin6_addr : (void *)&in.sin_addr) != 1)
		die("address");
	if (bind(fd, six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in,
		 six ? sizeof(in6) : sizeof(in)) != 0)
		die("bind");
	if (listen(fd, BACKLOG) != 0)
		die("listen");
	return fd;
}

static void listener_announce(int listener)
{
	struct sockaddr_in6 address = {0};
	socklen_t length = sizeof(address);

	/* sin_port and sin6_port are in the same place */
	if (getsockname(listener, (struct sockaddr *)&address, &length) != 0)
		die("getsockname");
	printf("listening %d\n", ntohs(address.sin6_port));
	fflush(stdout);
}

static const struct mode {
	const char *name;
	void (*run)(int listener);
} modes[] = {
	{"loop", mode_loop}, {"fork", mode_fork},	{"exec", mode_exec},
	{"pass", mode_pass}, {"accept4", mode_accept4}, {"threads", mode_threads},
	{"poll", mode_poll}, {"poll-blocking", poll_loop}, {"select", mode_select},
	{"epoll", mode_epoll}, {"epoll-blocking", mode_epoll_blocking},
	{"epoll-et", mode_epoll_edge}, {"epoll-oneshot", mode_epoll_oneshot},
	{"epoll-exclusive", mode_epoll_exclusive}, {"epoll-two", mode_epoll_two},
	{"epoll-shared", mode_epoll_shared}, {"prefork", mode_prefork},
	{"prefork-exec", mode_prefork_exec},
};

static const struct mode *mode_find(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (name != NULL && strcmp(name, modes[i].name) == 0)
			return &modes[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const char *address = NULL;
	unsigned short port = 0;
	int listener = -1;
	bool six = false;
	const struct mode *mode;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	if (argc == 2 && strcmp(argv[1], "child") == 0) {
		serve(0, unknown);
		return 0;
	}
	for (int option; (option = getopt(argc, argv, "6a:p:l:")) != -1;)
		switch (option) {
		case '6':
			six = true;
			break;
		case 'a':
			address = optarg;
			break;
		case 'p':
			port = (unsigned short)atoi(optarg);
			break;
		case 'l':
			listener = atoi(optarg);
			break;
		default:
			return 2;
		}
	mode = mode_find(argv[optind]);
	if (mode == NULL) {
		fprintf(stderr,
			"usage: server [-6] [-a ADDRESS] [-p PORT] [-l LISTENER] MODE\n");
		return 2;
	}
	if (address == NULL)
		address = six ? "::" : "127.0.0.1";
	if (listener < 0)
		listener = listener_open(six, address, port);
	listener_announce(listener);
	mode->run(listener);
	return 0;
}
