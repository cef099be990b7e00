/* SPDX-License-Identifier: MIT */
/*
 * The barest servers there are, on a port of 127.0.0.1 that they print: what a library
 * adds to a connection shows most here.
 *
 *   loop accept    accepts, reads, closes: one connection after the other
 *   loop epoll     the same for many at once, on sockets that do not block
 *
 * What was read is not looked at but for its last byte: to '?' the client is told its
 * name; to '+' too, and the connection stays (epoll alone).
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096
#define EVENTS 64

static int make_listener(int flags)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof addr;
	int listener = socket(AF_INET, SOCK_STREAM | flags, 0);
	if (bind(listener, (struct sockaddr *)&addr, len) || listen(listener, BACKLOG) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len))
		err(1, "listen");
	printf("listening %d\n", ntohs(addr.sin_port));
	fflush(stdout);
	return listener;
}

static void tell_name(int fd)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof peer;
	if (getpeername(fd, (struct sockaddr *)&peer, &len))
		err(1, "getpeername");
	dprintf(fd, "%s %d\n", inet_ntoa(peer.sin_addr), ntohs(peer.sin_port));
}

/* Whether the connection stays. */
static bool serve(int fd)
{
	char buf[256];
	ssize_t n = recv(fd, buf, sizeof buf, 0);
	if (n <= 0)
		return false;
	bool keep = buf[n - 1] == '+';
	if (keep || buf[n - 1] == '?')
		tell_name(fd);
	return keep;
}

static void accept_loop(int listener)
{
	for (;;) {
		struct sockaddr_in peer;
		socklen_t len = sizeof peer;
		int fd = accept(listener, (struct sockaddr *)&peer, &len);
		if (fd < 0)
			err(1, "accept");
		serve(fd);
		close(fd);
	}
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		err(1, "epoll_ctl");
}

static void accept_all(int epoll, int listener)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof peer;
	int fd;
	while ((fd = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK)) >=
	       0) {
		watch(epoll, fd);
		len = sizeof peer;
	}
	if (errno != EAGAIN)
		err(1, "accept4");
}

static void epoll_loop(int listener)
{
	struct epoll_event events[EVENTS];
	int epoll = epoll_create1(0);
	watch(epoll, listener);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == listener)
				accept_all(epoll, listener);
			else if (!serve(fd))
				close(fd);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "accept"))
		accept_loop(make_listener(0));
	if (argc == 2 && !strcmp(argv[1], "epoll"))
		epoll_loop(make_listener(SOCK_NONBLOCK));
	errx(2, "usage: loop accept | epoll");
}
