/* SPDX-License-Identifier: MIT */
/*
 * The kernel's manners, asked of accept, accept4 and getpeername.
 *
 *	manners CASE
 *
 * Each case holds without the library, which proves it against the kernel, and
 * with it, when TRUEPEER_TRUST is set; only the names differ. Clients send
 * a header where there is somebody to read it. A failed check ends the program.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"

/* ---- a listener, and clients of it ---- */

static int listener_new(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(bind(fd, sa(&address), sizeof(address)) == 0);
	CHECK(listen(fd, 512) == 0);
	return fd;
}

static int client_connect(int listener)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(getsockname(listener, sa(&address), &length) == 0);
	CHECK(connect(fd, sa(&address), sizeof(address)) == 0);
	return fd;
}

static void say(int fd, const char *text)
{
	CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* A client with a name: number n is 203.0.113.7 port 1000 + n, if its header is believed.
 */
static int client_new(int listener, int number)
{
	int fd = client_connect(listener);

	if (shim)
		say(fd, header(number));
	return fd;
}

static struct sockaddr_in client_name(int client, int number)
{
	struct sockaddr_in name = {0};
	socklen_t length = sizeof(name);

	CHECK(getsockname(client, sa(&name), &length) == 0);
	if (shim) {
		name.sin_port = htons((uint16_t)(1000 + number));
		CHECK(inet_pton(AF_INET, "203.0.113.7", &name.sin_addr) == 1);
	}
	return name;
}

static bool same_name(struct sockaddr_in a, struct sockaddr_in b)
{
	return a.sin_family == b.sin_family && a.sin_port == b.sin_port &&
	       a.sin_addr.s_addr == b.sin_addr.s_addr;
}

static bool peer_is(int fd, struct sockaddr_in want)
{
	struct sockaddr_in name = {0};
	socklen_t length = sizeof(name);

	return getpeername(fd, sa(&name), &length) == 0 && length == sizeof(name) &&
	       same_name(name, want);
}

static void reset(int fd)
{
	CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
			 sizeof(struct linger)) == 0);
	close(fd);
}

static bool is_reset(int client)
{
	return recv(client, &(char){0}, 1, 0) == -1 && errno == ECONNRESET;
}

static void make_nonblocking(int fd)
{
	CHECK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
}

static void wait_for_descriptors(int count)
{
	while (descriptors() < count) /* main's alarm bounds this */
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the out-parameters ---- */

CASE(accept_takes_null_for_the_address)
{
	int listener = listener_new(), client = client_new(listener, 1);
	int fd = accept(listener, NULL, NULL);

	CHECK(fd >= 0 && peer_is(fd, client_name(client, 1)));
}

CASE(accept_fills_the_address_and_not_what_lies_behind)
{
	int listener = listener_new(), client = client_new(listener, 1);
	struct sockaddr_in name;
	unsigned char room[128], untouched[128];
	socklen_t length = sizeof(room);

	memset(room, 0xAA, sizeof(room));
	memset(untouched, 0xAA, sizeof(untouched));
	CHECK(accept(listener, sa(room), &length) >= 0);
	CHECK(length == sizeof(name));
	memcpy(&name, room, sizeof(name));
	CHECK(same_name(name, client_name(client, 1)));
	CHECK(memcmp(name.sin_zero, "\0\0\0\0\0\0\0", 8) == 0);
	CHECK(memcmp(room + sizeof(name), untouched, sizeof(room) - sizeof(name)) == 0);
}

static void check_truncated(const unsigned char *room, size_t size, socklen_t length,
			    struct sockaddr_in want)
{
	unsigned char untouched[32];

	memset(untouched, 0xAA, sizeof(untouched));
	CHECK(length == sizeof(want));
	CHECK(memcmp(room, &want, size) == 0);
	CHECK(memcmp(room + size, untouched, 32 - size) == 0);
}

CASE(accept_truncates_the_address_and_reports_its_length)
{
	int listener = listener_new();

	for (socklen_t size = 0; size < sizeof(struct sockaddr_in); size++) {
		int client = client_new(listener, 1);
		unsigned char room[32];
		socklen_t length = size;
		int fd;

		memset(room, 0xAA, sizeof(room));
		CHECK((fd = accept(listener, sa(room), &length)) >= 0);
		check_truncated(room, size, length, client_name(client, 1));
		CHECK(peer_is(fd, client_name(client, 1)));
	}
}

CASE(getpeername_truncates_the_address_and_reports_its_length)
{
	int listener = listener_new(), client = client_new(listener, 1);
	int fd = accept(listener, NULL, NULL);

	for (socklen_t size = 0; size < sizeof(struct sockaddr_in); size++) {
		unsigned char room[32];
		socklen_t length = size;

		memset(room, 0xAA, sizeof(room));
		CHECK(getpeername(fd, sa(room), &length) == 0);
		check_truncated(room, size, length, client_name(client, 1));
	}
}

CASE(accept_refuses_a_negative_length)
{
	int listener = listener_new();
	struct sockaddr_in name;
	socklen_t length = (socklen_t)-1;

	client_new(listener, 1);
	CHECK(accept(listener, sa(&name), &length) == -1 && errno == EINVAL);
}

CASE(accept_refuses_an_address_without_a_length)
{
	int listener = listener_new();
	struct sockaddr_in name;

	client_new(listener, 1);
	CHECK(accept(listener, sa(&name), NULL) == -1 && errno == EFAULT);
}

CASE(getpeername_refuses_what_the_kernel_refuses)
{
	int listener = listener_new();
	struct sockaddr_in name;
	socklen_t length = (socklen_t)-1, good = sizeof(name);
	int fd;

	client_new(listener, 1);
	fd = accept(listener, NULL, NULL);
	CHECK(getpeername(fd, sa(&name), &length) == -1 && errno == EINVAL);
	CHECK(getpeername(fd, NULL, &good) == -1 && errno == EFAULT);
	CHECK(getpeername(fd, sa(&name), NULL) == -1 && errno == EFAULT);
	CHECK(getpeername(listener, sa(&name), &good) == -1 && errno == ENOTCONN);
	CHECK(getpeername(-1, sa(&name), &good) == -1 && errno == EBADF);
	CHECK(getpeername(open("/dev/null", O_RDONLY), sa(&name), &good) == -1 &&
	      errno == ENOTSOCK);
}

CASE(errno_is_kept_on_success)
{
	int listener = listener_new(), client = client_new(listener, 1), fd;

	errno = EXDEV;
	fd = accept(listener, NULL, NULL);
	CHECK(fd >= 0 && errno == EXDEV);
	CHECK(peer_is(fd, client_name(client, 1)) && errno == EXDEV);
	CHECK(listen(listener, 5) == 0 && errno == EXDEV);
}

/* ---- flags and descriptors ---- */

CASE(accept4_sets_exactly_the_flags_asked_for)
{
	int listener = listener_new();

	for (int i = 0; i < 4; i++) {
		int cloexec = i & 1 ? SOCK_CLOEXEC : 0,
		    nonblock = i & 2 ? SOCK_NONBLOCK : 0;
		int client = client_new(listener, i);
		int fd = accept4(listener, NULL, NULL, cloexec | nonblock);

		CHECK(peer_is(fd, client_name(client, i)));
		CHECK(fcntl(fd, F_GETFD) == (cloexec ? FD_CLOEXEC : 0));
		CHECK(fcntl(fd, F_GETFL) == (O_RDWR | (nonblock ? O_NONBLOCK : 0)));
		CHECK(fcntl(listener, F_GETFD) == 0 &&
		      fcntl(listener, F_GETFL) == O_RDWR);
	}
}

CASE(accept4_refuses_unknown_flags_and_takes_nothing)
{
	int listener = listener_new(), client = client_new(listener, 1);

	CHECK(accept4(listener, NULL, NULL, 1) == -1 && errno == EINVAL);
	CHECK(peer_is(accept4(listener, NULL, NULL, 0), client_name(client, 1)));
}

CASE(accepted_descriptor_does_not_take_after_its_listener)
{
	int listener = listener_new(), client = client_new(listener, 1), fd;

	make_nonblocking(listener);
	CHECK(fcntl(listener, F_SETFD, FD_CLOEXEC) == 0);
	fd = accept(listener, NULL, NULL);
	CHECK(peer_is(fd, client_name(client, 1)));
	CHECK(fcntl(fd, F_GETFD) == 0 && fcntl(fd, F_GETFL) == O_RDWR);
	CHECK(fcntl(listener, F_GETFD) == FD_CLOEXEC &&
	      fcntl(listener, F_GETFL) == (O_RDWR | O_NONBLOCK));
}

CASE(accept_gives_the_lowest_descriptor_even_zero)
{
	int listener = listener_new(), client = client_new(listener, 1);

	close(0);
	CHECK(accept(listener, NULL, NULL) == 0);
	CHECK(peer_is(0, client_name(client, 1)));
}

CASE(empty_nonblocking_listener_says_eagain)
{
	int listener = listener_new(), client;

	make_nonblocking(listener);
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EAGAIN);
	CHECK(accept4(listener, NULL, NULL, SOCK_NONBLOCK) == -1 && errno == EAGAIN);
	client = client_new(listener, 1);
	CHECK(peer_is(accept(listener, NULL, NULL), client_name(client, 1)));
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EAGAIN);
}

CASE(accept_fails_as_the_kernel_does)
{
	int listener = listener_new();

	CHECK(accept(-1, NULL, NULL) == -1 && errno == EBADF);
	CHECK(accept(open("/dev/null", O_RDONLY), NULL, NULL) == -1 && errno == ENOTSOCK);
	CHECK(accept(socket(AF_INET, SOCK_STREAM, 0), NULL, NULL) == -1 &&
	      errno == EINVAL);
	CHECK(accept(socket(AF_INET, SOCK_DGRAM, 0), NULL, NULL) == -1 &&
	      errno == EOPNOTSUPP);
	CHECK(shutdown(listener, SHUT_RDWR) == 0);
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EINVAL);
}

CASE(listen_fails_as_the_kernel_does)
{
	CHECK(listen(-1, 5) == -1 && errno == EBADF);
	CHECK(listen(open("/dev/null", O_RDONLY), 5) == -1 && errno == ENOTSOCK);
	CHECK(listen(socket(AF_INET, SOCK_DGRAM, 0), 5) == -1 && errno == EOPNOTSUPP);
}

/* ---- what the accepted socket is like ---- */

static int option(int fd, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);

	CHECK(getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0);
	return value;
}

static void check_untouched(int fd)
{
	struct linger linger = {1, 1};
	struct timeval patience = {1, 1};
	socklen_t length = sizeof(linger);
	int unread = -1;

	CHECK(option(fd, SO_RCVLOWAT) == 1);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length) == 0 &&
	      linger.l_onoff == 0);
	length = sizeof(patience);
	CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, &length) == 0);
	CHECK(patience.tv_sec == 0 && patience.tv_usec == 0);
	CHECK(ioctl(fd, FIONREAD, &unread) == 0 && unread == 0);
	CHECK(poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 0);
}

CASE(header_leaves_no_trace_on_the_socket)
{
	int listener = listener_new();

	client_new(listener, 1);
	check_untouched(accept(listener, NULL, NULL));
}

struct late {
	int client, open;
	const char *rest;
};

/* Says the rest when the connection has been accepted. */
static void *say_late(void *argument)
{
	struct late *late = argument;

	wait_for_descriptors(late->open + 1);
	say(late->client, late->rest);
	return NULL;
}

CASE(late_header_leaves_no_trace_on_the_socket)
{
	int listener = listener_new(), client = client_connect(listener), fd;
	struct late late = {client, descriptors(), header(1) + 9};
	pthread_t thread;
	char half[10];

	if (shim) {
		snprintf(half, sizeof(half), "%.9s", header(1));
		say(client, half);
		CHECK(pthread_create(&thread, NULL, say_late, &late) == 0);
	}
	fd = accept(listener, NULL, NULL);
	if (shim)
		CHECK(pthread_join(thread, NULL) == 0);
	CHECK(peer_is(fd, client_name(client, 1)));
	check_untouched(fd);
}

CASE(bytes_behind_the_header_are_payload_even_a_second_header)
{
	int listener = listener_new(), client = client_new(listener, 1), fd;
	char data[128] = "";

	say(client, header(2));
	fd = accept(listener, NULL, NULL);
	CHECK(peer_is(fd, client_name(client, 1)));
	CHECK(recv(fd, data, sizeof(data), 0) == (ssize_t)strlen(header(2)) &&
	      strcmp(data, header(2)) == 0);
	CHECK(peer_is(fd, client_name(client, 1)));
}

CASE(other_sockets_are_left_alone)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = ""};
	struct sockaddr_un name;
	struct sockaddr_in local = {.sin_family = AF_INET,
				    .sin_port = htons(9),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(sa_family_t);
	int listener = socket(AF_UNIX, SOCK_STREAM, 0),
	    client = socket(AF_UNIX, SOCK_STREAM, 0);
	int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = listener_new(), fd;
	char data[128] = "";

	CHECK(bind(listener, sa(&path), length) == 0 &&
	      listen(listener, 5) == 0); /* an abstract name */
	length = sizeof(path);
	CHECK(getsockname(listener, sa(&path), &length) == 0);
	CHECK(connect(client, sa(&path), length) == 0);
	say(client, header(1));
	length = sizeof(name);
	CHECK((fd = accept(listener, sa(&name), &length)) >= 0);
	CHECK(length == sizeof(sa_family_t) && name.sun_family == AF_UNIX);
	CHECK(recv(fd, data, sizeof(data), 0) > 0 && strcmp(data, header(1)) == 0);
	length = sizeof(name);
	CHECK(getpeername(fd, sa(&name), &length) == 0 && length == sizeof(sa_family_t));

	CHECK(connect(udp, sa(&local), sizeof(local)) == 0 && peer_is(udp, local));
	client = client_connect(tcp);
	length = sizeof(local);
	CHECK(getsockname(tcp, sa(&local), &length) == 0 && peer_is(client, local));
}

/* ---- connections that end ---- */

CASE(name_stays_while_the_connection_ends_and_goes_with_a_reset)
{
	int listener = listener_new(), client = client_new(listener, 1);
	struct sockaddr_in want = client_name(client, 1);
	struct sockaddr_in name;
	socklen_t length = sizeof(name);
	int fd = accept(listener, NULL, NULL);

	CHECK(shutdown(client, SHUT_WR) == 0);
	CHECK(recv(fd, &(char){0}, 1, 0) == 0 && peer_is(fd, want));
	reset(client);
	CHECK(poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1) == 1);
	CHECK(getpeername(fd, sa(&name), &length) == -1 && errno == ENOTCONN);
}

CASE(connection_reset_in_the_queue_does_no_harm)
{
	int listener = listener_new(), client;

	reset(client_new(listener, 1));
	reset(client_connect(listener));
	make_nonblocking(listener);
	for (int i = 0; i < 2; i++) /* taken as they are, or passed over */
		CHECK(accept(listener, NULL, NULL) >= 0 || errno == EAGAIN);
	client = client_new(listener, 2);
	CHECK(peer_is(accept(listener, NULL, NULL), client_name(client, 2)));
}

CASE(refused_connections_are_reset_and_never_shown)
{
	int listener = listener_new(), bad[8], good, open;

	if (!shim)
		return;
	for (int i = 0; i < 8; i++) {
		bad[i] = client_connect(listener);
		say(bad[i], "PROXY TCP5 \r\n");
	}
	good = client_new(listener, 1);
	open = descriptors();
	CHECK(peer_is(accept(listener, NULL, NULL), client_name(good, 1)));
	CHECK(descriptors() == open + 1);
	for (int i = 0; i < 8; i++)
		CHECK(is_reset(bad[i]));
	make_nonblocking(listener);
	bad[0] = client_connect(listener);
	say(bad[0], "GET / HTTP/1.0\r\n\r\n");
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EAGAIN);
	CHECK(is_reset(bad[0]));
	CHECK(descriptors() == open + 2); /* the good one, and the last client */
}

/* ---- threads, signals, processes ---- */

static void *accept_thread(void *listener)
{
	return (void *)(intptr_t)accept(*(int *)listener, NULL, NULL);
}

/* Whatever state the thread is in, it ends, and nothing is held or left open. */
static void check_cancel(int listener, int open)
{
	pthread_t thread;
	void *result;
	int client;

	CHECK(pthread_create(&thread, NULL, accept_thread, &listener) == 0);
	if (open > 0)
		wait_for_descriptors(open +
				     1); /* it is in accept and waits for a header */
	CHECK(pthread_cancel(thread) == 0);
	CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
	client = client_new(listener, 1);
	CHECK(peer_is(accept(listener, NULL, NULL), client_name(client, 1)));
}

CASE(thread_in_accept_can_be_cancelled)
{
	int listener = listener_new(), open = descriptors();

	for (int i = 0; i < 20; i++)
		check_cancel(listener, 0);
	CHECK(descriptors() == open + 40); /* the clients and the accepted */
}

CASE(thread_that_waits_for_a_header_can_be_cancelled)
{
	int listener = listener_new(), client, open;

	if (!shim)
		return;
	client = client_connect(listener);
	say(client, "PROXY ");
	open = descriptors();
	check_cancel(listener, open);
	CHECK(close(listener) == 0); /* and with it goes the client that waited */
	CHECK(is_reset(client));
	CHECK(descriptors() == open + 1 - 2); /* the listener had a channel */
}

static volatile sig_atomic_t signals;
static int signal_listener = -1;

/* The third signal brings a client. */
static void on_alarm(int number)
{
	(void)number;
	if (++signals == 3 && signal_listener >= 0)
		client_new(signal_listener, 1);
}

static void ticks_start(int flags)
{
	struct itimerval tick = {{0, 20000}, {0, 20000}};

	alarm(0);
	CHECK(sigaction(SIGALRM,
			&(struct sigaction){.sa_handler = on_alarm, .sa_flags = flags},
			NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &tick, NULL) == 0);
}

CASE(accept_is_interrupted_by_a_signal)
{
	int listener = listener_new();

	ticks_start(0);
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EINTR);
	CHECK(accept4(listener, NULL, NULL, SOCK_CLOEXEC) == -1 && errno == EINTR);
}

CASE(accept_is_restarted_after_a_signal_where_asked)
{
	signal_listener = listener_new();
	ticks_start(SA_RESTART);
	CHECK(accept(signal_listener, NULL, NULL) >= 0 && signals >= 3);
}

CASE(accept_heeds_the_receive_timeout_of_the_listener)
{
	int listener = listener_new();
	double start = now();

	CHECK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 100000},
			 sizeof(struct timeval)) == 0);
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EAGAIN);
	CHECK(now() - start > 0.09);
}

enum { THREADS = 4, PER_THREAD = 250 };

/* Each connection's first byte pair is its number, so that its name can be told. */
static void *accept_many(void *argument)
{
	int listener = *(int *)argument;

	for (int i = 0; i < PER_THREAD; i++) {
		struct sockaddr_in name, peer;
		socklen_t length = sizeof(name);
		uint16_t number;
		int fd = accept(listener, sa(&name), &length);

		CHECK(fd >= 0 &&
		      recv(fd, &number, sizeof(number), MSG_WAITALL) == sizeof(number));
		length = sizeof(peer);
		CHECK(getpeername(fd, sa(&peer), &length) == 0 && same_name(name, peer));
		CHECK(!shim || ntohs(name.sin_port) == 1000 + number);
		CHECK(send(fd, "k", 1, MSG_NOSIGNAL) == 1);
		close(fd);
	}
	return NULL;
}

CASE(threads_accept_side_by_side)
{
	int listener = listener_new();
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, accept_many, &listener) == 0);
	for (int i = 0; i < THREADS * PER_THREAD; i++) {
		int client = client_new(listener, i);
		uint16_t number = (uint16_t)i;

		CHECK(send(client, &number, sizeof(number), MSG_NOSIGNAL) ==
		      sizeof(number));
		CHECK(recv(client, &(char){0}, 1, 0) == 1);
		close(client);
	}
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

CASE(name_survives_dup_and_fork)
{
	int listener = listener_new(), client = client_new(listener, 1);
	struct sockaddr_in want = client_name(client, 1);
	int fd = accept(listener, NULL, NULL), copy = dup(fd);
	pid_t child;

	CHECK(peer_is(copy, want));
	close(fd);
	CHECK(peer_is(copy, want));
	child = fork();
	if (child == 0) {
		CHECK(peer_is(copy, want));
		client = client_new(listener, 2); /* and the child can accept */
		CHECK(peer_is(accept(listener, NULL, NULL), client_name(client, 2)));
		_exit(0);
	}
	check_child(child);
}

/* Connections come and go, one in ten stays for a while; descriptors are used again and
 * again. */
CASE(many_connections_keep_their_names)
{
	enum { KEPT = 64 };
	int listener = listener_new(), kept[KEPT], clients[KEPT], numbers[KEPT],
	    count = 0;
	pid_t child;

	for (int i = 0; i < 3000; i++) {
		int client = client_new(listener, i);
		int fd = accept(listener, NULL, NULL), old = i / 10 % KEPT;

		CHECK(peer_is(fd, client_name(client, i)));
		if (i % 10 != 0) {
			close(fd);
			close(client);
			continue;
		}
		if (count == KEPT) {
			CHECK(peer_is(kept[old],
				      client_name(clients[old], numbers[old])));
			close(kept[old]);
			close(clients[old]);
		} else {
			count++;
		}
		kept[old] = fd, clients[old] = client, numbers[old] = i;
	}
	child = fork();
	if (child == 0) {
		for (int i = 0; i < count; i++)
			CHECK(peer_is(kept[i], client_name(clients[i], numbers[i])));
		_exit(0);
	}
	check_child(child);
}

CASE(listeners_come_and_go)
{
	int open = descriptors();

	for (int i = 0; i < 40; i++)
		close(listener_new());
	CHECK(descriptors() == open);
}

/* ---- errno, where nobody accepts ---- */

static int errno_at_start;

CASE(errno_is_zero_when_the_program_starts)
{
	CHECK(errno_at_start == 0);
}

/* In a child that has closed what it does not know, as many close it before they exec. */
CASE(exec_that_fails_leaves_its_errno)
{
	static char *const command[] = {"nothing", NULL};
	posix_spawn_file_actions_t *actions = NULL;
	pid_t child, spawned;

	listener_new();
	if ((child = fork()) == 0) {
		syscall(SYS_close_range, 3, ~0U, 0);
		CHECK(execve("/no/thing", command, environ) == -1 && errno == ENOENT);
		CHECK(execv("/no/thing", command) == -1 && errno == ENOENT);
		CHECK(execvp("/no/thing", command) == -1 && errno == ENOENT);
		CHECK(execvpe("/no/thing", command, environ) == -1 && errno == ENOENT);
		CHECK(execl("/no/thing", "nothing", NULL) == -1 && errno == ENOENT);
		CHECK(execlp("/no/thing", "nothing", NULL) == -1 && errno == ENOENT);
		CHECK(execle("/no/thing", "nothing", NULL, environ) == -1 &&
		      errno == ENOENT);
		CHECK(fexecve(0, command, environ) == -1 && errno == EACCES);
		errno = EXDEV;
		/* Of another libc than this one may be: without LD_PRELOAD. */
		CHECK(posix_spawn(&spawned, "/bin/true", actions, NULL, command,
				  command + 1) == 0);
		CHECK(errno == EXDEV);
		check_child(spawned);
		_exit(0);
	}
	check_child(child);
}

int main(int argc, char **argv)
{
	errno_at_start = errno;
	return run_case(argc, argv);
}
