/* SPDX-License-Identifier: MIT */
/*
 * What a program notices of connections that wait for their header: nothing.
 *
 *	waiting CASE
 *
 * Each case holds without the library, which proves it against the kernel, and with it.
 * A late client has, with the library, connected long before and sends its header now;
 * without, it connects now. A failed check ends the program.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"

#define DATA 0xfeedc0dedeadbeefULL /* the listener's, in an epoll set */
#define OTHER 0x0123456789abcdefULL

#define DEADLINE_MS (1000 * slowness) /* TRUEPEER_TIMEOUT of these runs */
#define SLACK_MS (250 * slowness)

static atomic_int handled; /* other threads look, too */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool took(int64_t began, int64_t least, int64_t most)
{
	int64_t ms = now_ms() - began;

	if (ms >= least && ms <= most * slowness)
		return true;
	printf("it took %d ms\n", (int)ms);
	return false;
}

/* ---- a listener, and clients of it ---- */

static int listener_new(int flags)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);

	CHECK(bind(fd, sa(&address), sizeof(address)) == 0);
	CHECK(listen(fd, 512) == 0);
	return fd;
}

static struct sockaddr_in name_of(int listener)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	CHECK(getsockname(listener, sa(&address), &length) == 0);
	return address;
}

static int client_connect(struct sockaddr_in address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(connect(fd, sa(&address), sizeof(address)) == 0);
	CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) == 0);
	return fd;
}

static void say(int fd, const char *text, size_t size)
{
	CHECK(send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size);
}

static int client_of(struct sockaddr_in address, int number)
{
	int fd = client_connect(address);

	if (shim)
		say(fd, header(number), strlen(header(number)));
	return fd;
}

static int client_new(int listener, int number)
{
	return client_of(name_of(listener), number);
}

/* The number by which a connection's client is known; it is what the kernel says without. */
static bool is_client(int fd, int client, int number)
{
	struct sockaddr_in name = {0}, want = {0};
	socklen_t length = sizeof(name);

	CHECK(getsockname(client, sa(&want), &length) == 0);
	if (shim) {
		want.sin_port = htons((uint16_t)(1000 + number));
		CHECK(inet_pton(AF_INET, "203.0.113.7", &want.sin_addr) == 1);
	}
	length = sizeof(name);
	return getpeername(fd, sa(&name), &length) == 0 && name.sin_port == want.sin_port &&
	       name.sin_addr.s_addr == want.sin_addr.s_addr;
}

/* Another client comes and is served, which takes everybody before it off the queue. */
static void pass_by(int listener)
{
	int client = client_new(listener, 99), fd;

	/* A blocking listener that is in a set may wake its program for nothing. */
	do
		fd = accept(listener, NULL, NULL);
	while (shim && fd < 0 && errno == EAGAIN);
	CHECK(fd >= 0 && is_client(fd, client, 99));
	CHECK(close(fd) == 0 && close(client) == 0);
}

struct late {
	struct sockaddr_in to;
	int fd, number;
	size_t said;
};

static struct late late_begin(int listener, int number)
{
	struct late late = {name_of(listener), -1, number, 0};

	if (shim)
		late.fd = client_connect(late.to);
	pass_by(listener);
	return late;
}

/* The same where accept cannot be called without waiting for it: nothing is parked yet. */
static struct late late_connect(int listener, int number)
{
	struct late late = {name_of(listener), -1, number, 0};

	if (shim)
		late.fd = client_connect(late.to);
	return late;
}

static void late_drip(struct late *late)
{
	if (shim)
		say(late->fd, header(late->number) + late->said++, 1);
}

static void late_finish(struct late *late)
{
	if (shim)
		say(late->fd, header(late->number) + late->said,
		    strlen(header(late->number)) - late->said);
	else
		late->fd = client_connect(late->to);
}

static bool accepts(int listener, const struct late *late)
{
	int fd = accept(listener, NULL, NULL);
	bool right = fd >= 0 && is_client(fd, late->fd, late->number);

	if (fd >= 0)
		close(fd);
	return right;
}

static bool accepts_nothing(int listener)
{
	return accept(listener, NULL, NULL) == -1 && errno == EAGAIN;
}

static bool is_reset(int client, int timeout_ms)
{
	char byte;

	return poll(&(struct pollfd){.fd = client, .events = POLLIN}, 1, timeout_ms) == 1 &&
	       recv(client, &byte, 1, MSG_DONTWAIT) == -1 && errno == ECONNRESET;
}

static bool ends(int client, int timeout_ms)
{
	char byte;

	return poll(&(struct pollfd){.fd = client, .events = POLLIN}, 1, timeout_ms) == 1 &&
	       recv(client, &byte, 1, MSG_DONTWAIT) == 0;
}

static void set_of(fd_set *set, int fd)
{
	FD_ZERO(set);
	if (fd >= 0)
		FD_SET(fd, set);
}

/* A child that only holds what it has until it is killed. */
static _Noreturn void stay(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void handler(int number)
{
	(void)number;
	handled++;
}

static void handle(int number, int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	CHECK(sigaction(number, &action, NULL) == 0);
}

static void alarm_in(int ms)
{
	struct itimerval timer = {.it_value = {ms / 1000, ms % 1000 * 1000}};

	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

/* ---- a blocking accept ---- */

CASE(accept_is_interrupted_by_a_handler)
{
	int listener = listener_new(0);
	int64_t began;

	late_begin(listener, 1);
	handle(SIGALRM, 0);
	began = now_ms();
	alarm_in(50 * slowness);
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EINTR);
	CHECK(handled == 1 && took(began, 45, 500));
}

static void *finish_after_signal(void *argument)
{
	while (!handled)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	late_finish(argument);
	return NULL;
}

static void *finish_soon(void *argument)
{
	nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
	late_finish(argument);
	return NULL;
}

static void accept_goes_on(void)
{
	int listener = listener_new(0), fd;
	struct late late = late_begin(listener, 1);
	pthread_t thread;

	handle(SIGALRM, SA_RESTART);
	CHECK(pthread_create(&thread, NULL, finish_after_signal, &late) == 0);
	alarm_in(50 * slowness);
	CHECK((fd = accept(listener, NULL, NULL)) >= 0 && handled == 1);
	CHECK(pthread_join(thread, NULL) == 0 && is_client(fd, late.fd, 1));
}

CASE(accept_goes_on_after_a_handler_with_restart)
{
	accept_goes_on();
}

CASE(accept_goes_on_after_a_handler_with_restart_beside_one_without)
{
	handle(SIGUSR2, 0);
	accept_goes_on();
}

/* A signal that the program has blocked is no reason to wake up, again and again. */
CASE(accept_sleeps_while_a_blocked_signal_is_pending)
{
	int listener = listener_new(0), fd;
	struct late late = late_begin(listener, 1);
	struct rusage used;
	pthread_t thread;
	sigset_t blocked;

	handle(SIGUSR1, SA_RESTART);
	handle(SIGUSR2, 0);
	sigemptyset(&blocked), sigaddset(&blocked, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0 && raise(SIGUSR1) == 0);
	CHECK(pthread_create(&thread, NULL, finish_soon, &late) == 0);
	CHECK((fd = accept(listener, NULL, NULL)) >= 0 && handled == 0);
	CHECK(pthread_join(thread, NULL) == 0 && is_client(fd, late.fd, 1));
	CHECK(getrusage(RUSAGE_THREAD, &used) == 0);
	CHECK((used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
		      used.ru_utime.tv_usec + used.ru_stime.tv_usec <
	      100000 * slowness);
}

CASE(accept_is_interrupted_by_a_handler_that_was_set_before_the_first_connection)
{
	int listener = listener_new(0);
	struct late late;
	int64_t began;

	handle(SIGALRM, 0);
	late = late_connect(listener, 1); /* accept parks it and goes to sleep */
	began = now_ms();
	alarm_in(50 * slowness);
	CHECK(accept(listener, NULL, NULL) == -1 && errno == EINTR);
	CHECK(took(began, 45, 500));
	late_finish(&late);
	CHECK(accepts(listener, &late));
}

/* The program calls it blocking, be it for the first time or once more. */
CASE(accept_of_a_listener_that_is_made_blocking_sleeps_beside_the_late)
{
	for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) {
		int listener = listener_new(flags), fd;
		struct late late = late_begin(listener, 1);
		pthread_t thread;
		int64_t began = now_ms();

		CHECK(fcntl(listener, F_SETFL, 0) == 0);
		CHECK(pthread_create(&thread, NULL, finish_soon, &late) == 0);
		CHECK((fd = accept(listener, NULL, NULL)) >= 0 && took(began, 490, 1000));
		CHECK(pthread_join(thread, NULL) == 0 && is_client(fd, late.fd, 1));
	}
}

CASE(accept_of_a_timed_listener_gives_up_in_time)
{
	int listener = listener_new(0);
	struct timeval limit = {.tv_usec = 300000};
	struct late late;
	int64_t began;

	CHECK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
	late = late_begin(listener, 1);
	began = now_ms();
	CHECK(accepts_nothing(listener) && took(began, 290, 450));
	late_finish(&late);
	CHECK(accepts(listener, &late));
	began = now_ms();
	CHECK(accepts_nothing(listener) && took(began, 290, 450));
}

CASE(accept_of_a_timed_listener_gives_up_when_the_first_is_late)
{
	int listener = listener_new(0);
	struct timeval limit = {.tv_usec = 300000};
	struct late late;
	int64_t began = now_ms();

	CHECK(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
	late = late_connect(listener, 1);
	CHECK(accepts_nothing(listener) && took(began, 290, 450));
	late_finish(&late);
	CHECK(accepts(listener, &late));
}

static void *accept_for_ever(void *listener)
{
	for (;;) {
		int fd = accept(*(int *)listener, NULL, NULL);

		if (fd < 0)
			return (void *)(intptr_t)errno;
		close(fd);
	}
}

static char state_of(pid_t tid)
{
	char path[64], text[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	if ((file = fopen(path, "r")) == NULL)
		return '?';
	if (fgets(text, sizeof(text), file) == NULL)
		text[0] = '\0';
	fclose(file);
	return strrchr(text, ')') ? strrchr(text, ')')[2] : '?';
}

static pid_t other_thread(void)
{
	DIR *folder = opendir("/proc/self/task");
	pid_t found = 0;

	for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
		if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != getpid())
			found = atoi(entry->d_name);
	closedir(folder);
	return found;
}

/* Main's alarm bounds it. */
static void wait_until_it_sleeps(void)
{
	do
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	while (state_of(other_thread()) != 'S');
}

CASE(accept_can_be_cancelled)
{
	int listener = listener_new(0), before;
	struct late late = late_begin(listener, 1);
	pthread_t thread;
	void *result;

	before = descriptors();
	CHECK(pthread_create(&thread, NULL, accept_for_ever, &listener) == 0);
	wait_until_it_sleeps();
	CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
	CHECK(result == PTHREAD_CANCELED && descriptors() == before);
	late_finish(&late);
	CHECK(accepts(listener, &late));
}

CASE(accept_ends_when_the_listener_is_shut_down)
{
	int listener = listener_new(0);
	pthread_t thread;
	void *result;

	late_begin(listener, 1);
	CHECK(pthread_create(&thread, NULL, accept_for_ever, &listener) == 0);
	wait_until_it_sleeps();
	CHECK(shutdown(listener, SHUT_RDWR) == 0);
	CHECK(pthread_join(thread, &result) == 0 && (intptr_t)result == EINVAL);
}

CASE(listener_can_be_closed_while_another_thread_accepts)
{
	int listener = listener_new(0), copy, second;
	struct late late = late_begin(listener, 1), late2;
	struct sockaddr_in name = name_of(listener);
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, accept_for_ever, &(int){listener}) == 0);
	wait_until_it_sleeps();
	copy = listener;
	CHECK(close(listener) == 0);
	if (shim)
		CHECK(is_reset(late.fd, DEADLINE_MS + SLACK_MS));
	/* The number is somebody else's now, who must not notice. */
	CHECK((second = listener_new(SOCK_CLOEXEC)) == copy);
	client_connect(name); /* the kernel's accept holds the old listener until now */
	late2 = late_connect(second, 2);
	late_finish(&late2);
	(void)late2;
}

CASE(accepted_connection_has_the_flags_of_its_call)
{
	static const int flags[] = {-1, 0, SOCK_CLOEXEC, SOCK_NONBLOCK,
				    SOCK_CLOEXEC | SOCK_NONBLOCK};

	for (int i = 0; i < 25; i++) {
		int listener = listener_new(i % 2 ? SOCK_NONBLOCK : 0);
		int first = flags[i / 5], second = flags[i % 5], client, fd, value;
		socklen_t size = sizeof(value);
		struct late late = late_connect(listener, 1);

		client = client_new(listener, 2);
		fd = first < 0 ? accept(listener, NULL, NULL)
			       : accept4(listener, NULL, NULL, first);
		CHECK(fd >= 0 && is_client(fd, client, 2));
		close(fd);
		late_finish(&late);
		fd = second < 0 ? accept(listener, NULL, NULL)
				: accept4(listener, NULL, NULL, second);
		CHECK(fd >= 0 && is_client(fd, late.fd, 1));
		second = second < 0 ? 0 : second;
		CHECK(fcntl(fd, F_GETFD) == (second & SOCK_CLOEXEC ? FD_CLOEXEC : 0));
		CHECK(fcntl(fd, F_GETFL) ==
		      (O_RDWR | (second & SOCK_NONBLOCK ? O_NONBLOCK : 0)));
		CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, &size) == 0);
		CHECK(value == 1);
		CHECK(!(fcntl(listener, F_GETFD) & FD_CLOEXEC));
		close(fd), close(listener);
	}
}

CASE(accept_fills_the_address_of_a_late_client)
{
	int listener = listener_new(0), fd;
	struct late late = late_begin(listener, 1);
	struct sockaddr_in got = {0}, want = {0};
	socklen_t length = sizeof(got);

	late_finish(&late);
	errno = 4711;
	CHECK((fd = accept(listener, sa(&got), &length)) >= 0 && errno == 4711);
	CHECK(length == sizeof(got) && is_client(fd, late.fd, 1));
	CHECK(getpeername(fd, sa(&want), &length) == 0);
	CHECK(memcmp(&got, &want, sizeof(got)) == 0);
}

CASE(late_connection_gets_the_lowest_descriptor)
{
	int listener = listener_new(0), low = dup(listener), fd;
	struct late late = late_begin(listener, 1);

	CHECK(close(low) == 0);
	late_finish(&late);
	if (!shim)
		late.fd = dup2(late.fd, 200), CHECK(close(low) == 0);
	CHECK((fd = accept(listener, NULL, NULL)) == low);
}

CASE(what_follows_a_late_header_is_the_servers)
{
	int listener = listener_new(0), fd;
	struct late late = late_begin(listener, 1);
	char data[16];

	for (size_t i = 0; i < 5; i++)
		late_drip(&late);
	late_finish(&late);
	say(late.fd, "hello", 5);
	CHECK((fd = accept(listener, NULL, NULL)) >= 0);
	CHECK(recv(fd, data, sizeof(data), 0) == 5 && memcmp(data, "hello", 5) == 0);
}

/* ---- poll, select and their kin ---- */

enum { POLL, PPOLL, SELECT, PSELECT, EPOLL, WAYS };

static int epoll_with(int fd, uint32_t events, uint64_t data)
{
	int set = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = events, .data.u64 = data};

	CHECK(set >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0);
	return set;
}

/* Whether the listener is readable, by one of the ways, within the time; -1 for ever. */
static int wait_by(int way, int fd, int set, int ms)
{
	struct timespec limit = {ms / 1000, ms % 1000 * 1000000L};
	struct timeval micro = {ms / 1000, ms % 1000 * 1000};
	struct pollfd one = {.fd = fd, .events = POLLIN};
	struct epoll_event event;
	fd_set ready;
	int n;

	set_of(&ready, way == SELECT || way == PSELECT ? fd : -1);
	switch (way) {
	case POLL:
		n = poll(&one, 1, ms);
		CHECK(n < 0 || one.revents == (n ? POLLIN : 0));
		return n;
	case PPOLL:
		n = ppoll(&one, 1, ms < 0 ? NULL : &limit, NULL);
		CHECK(n < 0 || one.revents == (n ? POLLIN : 0));
		return n;
	case SELECT:
		n = select(fd + 1, &ready, NULL, NULL, ms < 0 ? NULL : &micro);
		CHECK(n < 0 || !!FD_ISSET(fd, &ready) == n);
		if (n == 0)
			CHECK(micro.tv_sec == 0 && micro.tv_usec == 0);
		return n;
	case PSELECT:
		n = pselect(fd + 1, &ready, NULL, NULL, ms < 0 ? NULL : &limit, NULL);
		CHECK(n < 0 || !!FD_ISSET(fd, &ready) == n);
		return n;
	default:
		n = epoll_wait(set, &event, 1, ms);
		CHECK(n < 1 || (event.data.u64 == DATA && event.events == EPOLLIN));
		return n;
	}
}

static void check_timeouts(int way, int flags)
{
	int listener = listener_new(flags);
	int set = epoll_with(listener, EPOLLIN, DATA);
	struct late late = late_begin(listener, 1);
	int64_t began = now_ms();

	CHECK(wait_by(way, listener, set, 0) == 0 && took(began, 0, 50));
	began = now_ms();
	CHECK(wait_by(way, listener, set, 300) == 0 && took(began, 295, 400));
	late_finish(&late);
	began = now_ms();
	CHECK(wait_by(way, listener, set, -1) == 1 && took(began, 0, 50));
	CHECK(wait_by(way, listener, set, 300) == 1 && took(began, 0, 50));
	CHECK(accepts(listener, &late));
	CHECK(wait_by(way, listener, set, 0) == 0);
	close(set), close(listener);
}

CASE(timeouts_stay_right)
{
	for (int way = 0; way < WAYS; way++) {
		check_timeouts(way, SOCK_NONBLOCK);
		check_timeouts(way, 0);
	}
}

static void *drip_slowly(void *argument)
{
	struct late *late = argument;

	for (int i = 0; i < 8; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
		late_drip(late);
	}
	return NULL;
}

/* Each drip wakes the library. The program with a timeout must not be told, and sleep on. */
static void check_dripping(int way, int flags)
{
	int listener = listener_new(flags);
	struct late late = late_begin(listener, 1);
	pthread_t thread;
	int64_t began = now_ms();

	CHECK(pthread_create(&thread, NULL, drip_slowly, &late) == 0);
	CHECK(wait_by(way, listener, -1, 300) == 0 && took(began, 295, 400));
	pthread_join(thread, NULL);
	late_finish(&late);
	CHECK(wait_by(way, listener, -1, 0) == 1 && accepts(listener, &late));
	close(listener);
}

CASE(timeouts_stay_right_while_bytes_drip)
{
	for (int way = 0; way < EPOLL; way++) {
		check_dripping(way, SOCK_NONBLOCK);
		check_dripping(way, 0);
	}
}

/* The listener is shown only when accept does not sleep: silent ones come and go. */
CASE(waits_do_not_show_a_blocking_listener_for_nothing)
{
	for (int way = 0; way < EPOLL; way++) {
		int listener = listener_new(0);
		struct late late = late_begin(listener, 1);
		int64_t began;

		/* Who only waits, and leaves it to others to accept, is shown all. */
		late_finish(&late);
		CHECK(wait_by(way, listener, -1, 500) == 1 && accepts(listener, &late));
		late = late_connect(listener, 1);
		began = now_ms();
		CHECK(wait_by(way, listener, -1, DEADLINE_MS + 2 * SLACK_MS) == 0);
		CHECK(took(began, DEADLINE_MS + 2 * SLACK_MS - 5, DEADLINE_MS + 4 * SLACK_MS));
		if (shim)
			CHECK(is_reset(late.fd, 0));
		close(listener);
	}
}

static volatile nfds_t seven = 7; /* not known to the compiler: it calls __poll_chk */

CASE(poll_counts_and_marks_what_it_is_asked_for)
{
	for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) {
		int listener = listener_new(flags), pipes[2];
		struct late late = late_begin(listener, 1);

		CHECK(pipe(pipes) == 0 && write(pipes[1], "x", 1) == 1);
		struct pollfd fds[] = {{pipes[0], POLLIN, 0x55},  {-1, POLLIN, 0x55},
				       {listener, POLLIN, 0x55}, {pipes[1], POLLOUT, 0x55},
				       {9999, POLLIN, 0x55},	 {listener, POLLOUT, 0x55},
				       {listener, POLLIN | POLLRDNORM | POLLPRI, 0x55}};

		CHECK(poll(fds, seven, 1000) == 3);
		CHECK(fds[0].revents == POLLIN && fds[1].revents == 0 && fds[2].revents == 0);
		CHECK(fds[3].revents == POLLOUT && fds[4].revents == POLLNVAL);
		CHECK(fds[5].revents == 0 && fds[6].revents == 0);
		late_finish(&late);
		CHECK(ppoll(fds, seven, &(struct timespec){.tv_sec = 1}, NULL) == 5);
		CHECK(fds[0].revents == POLLIN && fds[2].revents == POLLIN);
		CHECK(fds[3].revents == POLLOUT && fds[4].revents == POLLNVAL);
		CHECK(fds[5].revents == 0 && fds[6].revents == (POLLIN | POLLRDNORM));
		CHECK(fds[6].events == (POLLIN | POLLRDNORM | POLLPRI) && fds[6].fd == listener);
		CHECK(accepts(listener, &late));
	}
}

CASE(select_counts_and_marks_what_it_is_asked_for)
{
	for (int flags = 0; flags <= SOCK_NONBLOCK; flags += SOCK_NONBLOCK) {
		int listener = listener_new(flags), pipes[2], full[2];
		struct late late = late_begin(listener, 1);
		fd_set in, out, except;

		CHECK(pipe(pipes) == 0 && pipe(full) == 0 && write(pipes[1], "x", 1) == 1);
		for (int finished = 0; finished < 2; finished++) {
			struct timeval limit = {.tv_sec = 3};

			set_of(&in, listener), set_of(&out, listener), set_of(&except, listener);
			FD_SET(pipes[0], &in);
			FD_SET(full[0], &in);
			FD_SET(pipes[1], &out);
			FD_SET(pipes[0], &except);
			CHECK(select(100, &in, &out, &except, &limit) == 2 + finished);
			CHECK(!!FD_ISSET(listener, &in) == finished && FD_ISSET(pipes[0], &in));
			CHECK(!FD_ISSET(full[0], &in) && !FD_ISSET(listener, &out));
			CHECK(FD_ISSET(pipes[1], &out) && !FD_ISSET(listener, &except));
			CHECK(!FD_ISSET(pipes[0], &except));
			CHECK(limit.tv_sec == 2 || (limit.tv_sec == 3 && !limit.tv_usec));
			if (!finished)
				late_finish(&late);
		}
		CHECK(accepts(listener, &late));
		/* The kernel passes over what its table, 64 wide at first, never held. */
		CHECK(dup2(listener, 99) == 99 && close(99) == 0);
		set_of(&in, listener);
		FD_SET(99, &in);
		CHECK(select(100, &in, NULL, NULL, NULL) == -1 && errno == EBADF);
	}
}

CASE(select_bears_descriptors_above_its_limit)
{
	int listener = listener_new(0), high, nothing = open("/dev/null", O_RDWR);
	struct rlimit limit;
	struct late late;
	fd_set in;
	int64_t began;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 4096;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while ((high = dup(nothing)) < FD_SETSIZE + 50)
		CHECK(high >= 0);
	late = late_begin(listener, 1);
	for (int i = 0; i < 2; i++) {
		set_of(&in, listener);
		began = now_ms();
		CHECK(select(FD_SETSIZE, &in, NULL, NULL, &(struct timeval){.tv_usec = 200000}) == i);
		CHECK(!!FD_ISSET(listener, &in) == i && (i || took(began, 195, 300)));
		if (!i)
			late_finish(&late);
	}
	CHECK(accepts(listener, &late));
}

/* More descriptors than select's own type holds, as some programs do. */
CASE(select_bears_sets_above_its_limit)
{
	static unsigned long in[4096 / 8 / sizeof(long)];
	int first = listener_new(0), listener = 2500;
	struct rlimit limit;
	struct late late;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 4096;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	CHECK(dup2(first, listener) == listener && close(first) == 0);
	late = late_begin(listener, 1);
	in[listener / 64] = 1ul << listener % 64;
	CHECK(select(4096, (fd_set *)(void *)in, NULL, NULL,
		     &(struct timeval){.tv_usec = 100000}) == 0);
	CHECK(in[listener / 64] == 0);
	late_finish(&late);
	in[listener / 64] = 1ul << listener % 64;
	CHECK(select(4096, (fd_set *)(void *)in, NULL, NULL, NULL) == 1);
	CHECK(in[listener / 64] == 1ul << listener % 64 && accepts(listener, &late));
}

CASE(waits_take_their_mask)
{
	for (int way = PPOLL; way <= PSELECT; way += PSELECT - PPOLL) {
		int listener = listener_new(0);
		struct late late = late_begin(listener, 1);
		struct timespec limit = {.tv_sec = 2};
		struct pollfd one = {.fd = listener, .events = POLLIN};
		sigset_t blocked, all, none;
		fd_set in;

		handle(SIGUSR1, SA_RESTART);
		sigemptyset(&none), sigfillset(&all);
		sigemptyset(&blocked), sigaddset(&blocked, SIGUSR1);
		set_of(&in, listener);
		CHECK(sigprocmask(SIG_BLOCK, &blocked, NULL) == 0);
		handled = 0;
		CHECK(raise(SIGUSR1) == 0 && handled == 0);
		CHECK((way == PPOLL ? ppoll(&one, 1, &limit, &none)
				    : pselect(listener + 1, &in, NULL, NULL, &limit, &none)) == -1);
		CHECK(errno == EINTR && handled == 1);
		CHECK(sigprocmask(SIG_UNBLOCK, &blocked, NULL) == 0);
		alarm_in(50); /* blocked by the mask: the time runs to its end */
		handle(SIGALRM, 0);
		handled = 0;
		limit = (struct timespec){.tv_nsec = 200000000};
		set_of(&in, listener);
		CHECK((way == PPOLL ? ppoll(&one, 1, &limit, &all)
				    : pselect(listener + 1, &in, NULL, NULL, &limit, &all)) == 0);
		CHECK(limit.tv_sec == 0 && limit.tv_nsec == 200000000);
		nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
		CHECK(handled == 1);
		late_finish(&late);
		CHECK(accepts(listener, &late));
	}
}

CASE(poll_is_interrupted_even_by_a_handler_with_restart)
{
	int listener = listener_new(0);

	late_begin(listener, 1);
	handle(SIGALRM, SA_RESTART);
	alarm_in(50 * slowness);
	CHECK(wait_by(POLL, listener, -1, 2000) == -1 && errno == EINTR);
	alarm_in(50 * slowness);
	CHECK(wait_by(SELECT, listener, -1, 2000) == -1 && errno == EINTR);
}

CASE(many_listeners_are_waited_for_by_poll_and_select)
{
	enum { MANY = 100 };

	for (int way = 0; way < 2; way++) {
		int listeners[MANY];
		struct late lates[MANY];
		struct pollfd fds[MANY];
		fd_set in;

		for (int i = 0; i < MANY; i++) {
			listeners[i] = listener_new(SOCK_NONBLOCK);
			lates[i] = late_begin(listeners[i], i);
			fds[i] = (struct pollfd){listeners[i], POLLIN, 0};
		}
		for (int i = MANY - 1; i >= 0; i--) {
			late_finish(&lates[i]);
			if (way == 0) {
				CHECK(poll(fds, MANY, 500) == 1 && fds[i].revents == POLLIN);
			} else {
				FD_ZERO(&in);
				for (int j = 0; j < MANY; j++)
					FD_SET(listeners[j], &in);
				CHECK(select(FD_SETSIZE, &in, NULL, NULL,
					     &(struct timeval){.tv_usec = 500000}) == 1);
				CHECK(FD_ISSET(listeners[i], &in));
			}
			CHECK(accepts(listeners[i], &lates[i]));
			close(listeners[i]), close(lates[i].fd);
			fds[i].fd = -1;
			listeners[i] = listeners[0];
		}
	}
}

CASE(many_listeners_are_waited_for_by_epoll)
{
	enum { MANY = 200 };
	int listeners[MANY], set = epoll_create1(0);
	struct late lates[MANY];
	struct epoll_event event;

	for (int i = 0; i < MANY; i++) {
		listeners[i] = listener_new(SOCK_NONBLOCK);
		event = (struct epoll_event){.events = EPOLLIN, .data.u64 = DATA + (uint64_t)i};
		CHECK(epoll_ctl(set, EPOLL_CTL_ADD, listeners[i], &event) == 0);
		lates[i] = late_begin(listeners[i], i);
	}
	for (int i = 0; i < MANY; i++) {
		late_finish(&lates[i]);
		CHECK(epoll_wait(set, &event, 1, 500) == 1);
		CHECK(event.data.u64 == DATA + (uint64_t)i && event.events == EPOLLIN);
		CHECK(accepts(listeners[i], &lates[i]));
	}
}

/* ---- epoll: the listener is taken out and put back ---- */

static void control(int set, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	CHECK(epoll_ctl(set, op, fd, &event) == 0);
}

static bool shows(int set, int ms, uint64_t data)
{
	struct epoll_event event = {0};
	int n = epoll_wait(set, &event, 1, ms);

	return data ? n == 1 && event.data.u64 == data && event.events == EPOLLIN : n == 0;
}

static void check_out_and_back(uint32_t flags, bool deleted)
{
	int listener = listener_new(SOCK_NONBLOCK);
	int set = epoll_with(listener, EPOLLIN | flags, OTHER);
	int out = deleted ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
	int back = deleted ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
	struct late late = late_begin(listener, 1);
	struct epoll_event event;

	epoll_wait(set, &event, 1, 0); /* the news of who passed by */
	control(set, out, listener, 0, OTHER);
	late_finish(&late);
	CHECK(shows(set, 50, 0));
	control(set, back, listener, EPOLLIN | flags, DATA);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
	CHECK(accepts_nothing(listener));
	/* And with the header after it is back. */
	if (flags & EPOLLONESHOT)
		control(set, EPOLL_CTL_MOD, listener, EPOLLIN | flags, OTHER);
	late = late_begin(listener, 2);
	epoll_wait(set, &event, 1, 0);
	control(set, out, listener, 0, OTHER);
	CHECK(shows(set, 50, 0));
	control(set, back, listener, EPOLLIN | flags, DATA);
	CHECK(shows(set, 50, 0));
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
	close(set), close(listener);
}

CASE(listener_is_deleted_and_added_again)
{
	check_out_and_back(0, true);
	check_out_and_back(EPOLLET, true);
	check_out_and_back(EPOLLONESHOT, true);
	check_out_and_back(EPOLLEXCLUSIVE, true);
}

CASE(listener_is_muted_and_heard_again)
{
	check_out_and_back(0, false);
	check_out_and_back(EPOLLET, false);
	check_out_and_back(EPOLLONESHOT, false);
}

CASE(listener_is_added_after_accept)
{
	int listener = listener_new(SOCK_NONBLOCK), set;
	struct late late = late_begin(listener, 1);

	set = epoll_with(listener, EPOLLIN, DATA);
	CHECK(shows(set, 50, 0));
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
}

CASE(user_data_changes)
{
	int listener = listener_new(SOCK_NONBLOCK), set = epoll_with(listener, EPOLLIN, OTHER);
	struct late late = late_begin(listener, 1);

	control(set, EPOLL_CTL_MOD, listener, EPOLLIN, DATA);
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && shows(set, 0, DATA) && accepts(listener, &late));
	CHECK(shows(set, 0, 0));
}

CASE(one_shot_fires_once)
{
	int listener = listener_new(SOCK_NONBLOCK);
	int set = epoll_with(listener, EPOLLIN | EPOLLONESHOT, DATA);
	struct epoll_event event;
	struct late late = late_begin(listener, 1);

	epoll_wait(set, &event, 1, 0);
	control(set, EPOLL_CTL_MOD, listener, EPOLLIN | EPOLLONESHOT, DATA);
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && shows(set, 50, 0));
	CHECK(accepts(listener, &late));
}

/* As long as the program has not asked for it again, nobody else is woken. */
CASE(one_shot_that_has_fired_shows_nothing)
{
	int listener = listener_new(SOCK_NONBLOCK);
	int set = epoll_with(listener, EPOLLIN | EPOLLONESHOT, DATA);
	int client = client_new(listener, 98), fd;
	struct late late;

	CHECK(shows(set, 500, DATA)); /* it fires, for this one */
	CHECK((fd = accept(listener, NULL, NULL)) >= 0 && is_client(fd, client, 98));
	late = late_begin(listener, 1);
	late_finish(&late);
	CHECK(shows(set, 50, 0));
	control(set, EPOLL_CTL_MOD, listener, EPOLLIN | EPOLLONESHOT, DATA);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
}

/* As by libevent with EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST (tor): the number may be a room's by then. */
CASE(what_is_closed_is_changed_and_deleted_later)
{
	int listener = listener_new(SOCK_NONBLOCK), set = epoll_with(listener, EPOLLIN, DATA);
	struct late late = late_begin(listener, 1);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = OTHER};

	for (int fd = STDERR_FILENO + 1; fd < 4096; fd++) {
		if (fd == listener || fd == set || fd == late.fd)
			continue;
		for (int op = EPOLL_CTL_DEL; op <= EPOLL_CTL_MOD; op++)
			CHECK(epoll_ctl(set, op, fd, &event) == -1 &&
			      (errno == EBADF || errno == ENOENT ||
			       errno == EPERM)); /* a file of what it runs under */
	}
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
}

CASE(every_set_that_holds_the_listener_shows_it)
{
	int listener = listener_new(SOCK_NONBLOCK);
	int sets[] = {epoll_with(listener, EPOLLIN, DATA), epoll_with(listener, EPOLLIN, OTHER),
		      epoll_with(listener, EPOLLIN | EPOLLET, DATA)};
	struct late late;
	struct epoll_event event;

	late = late_begin(listener, 1);
	epoll_wait(sets[2], &event, 1, 0);
	late_finish(&late);
	CHECK(shows(sets[0], 500, DATA) && shows(sets[1], 500, OTHER) &&
	      shows(sets[2], 500, DATA) && shows(sets[2], 0, 0));
	CHECK(accepts(listener, &late));
	CHECK(shows(sets[0], 0, 0) && shows(sets[1], 0, 0) && shows(sets[2], 0, 0));
	/* One of them is closed; its number is somebody else's. */
	late = late_begin(listener, 2);
	close(sets[0]);
	CHECK(dup2(STDIN_FILENO, sets[0]) == sets[0]);
	late_finish(&late);
	CHECK(shows(sets[1], 500, OTHER) && accepts(listener, &late));
}

CASE(dup_of_the_listener_is_in_the_set)
{
	for (int way = 0; way < 2; way++) {
		int listener = listener_new(SOCK_NONBLOCK), twin = dup(listener);
		int set = epoll_with(way ? listener : twin, EPOLLIN, DATA);
		struct late late = late_begin(way ? twin : listener, 1);

		late_finish(&late);
		CHECK(shows(set, 500, DATA) && accepts(way ? twin : listener, &late));
		late = late_begin(listener, 2);
		late_finish(&late);
		CHECK(shows(set, 500, DATA) && accepts(twin, &late));
		late = late_begin(twin, 3);
		late_finish(&late);
		CHECK(shows(set, 500, DATA) && accepts(listener, &late));
	}
}

CASE(one_of_two_descriptors_is_closed)
{
	for (int way = 0; way < 2; way++) {
		int listener = listener_new(SOCK_NONBLOCK), twin = dup(listener);
		int set = epoll_with(twin, EPOLLIN, DATA);
		struct late late = late_begin(listener, 1);

		if (way)
			CHECK(close(listener) == 0);
		else
			CHECK(dup2(STDIN_FILENO, listener) == listener);
		late_finish(&late);
		CHECK(shows(set, 500, DATA) && accepts(twin, &late));
	}
}

CASE(set_is_filled_by_raw_system_call)
{
	int listener = listener_new(SOCK_NONBLOCK), set = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = DATA};
	struct late late;

	CHECK(syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, listener, &event) == 0);
	late = late_begin(listener, 1);
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
	late = late_begin(listener, 2);
	CHECK(shows(set, 300, 0));
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
}

CASE(set_that_is_filled_by_raw_system_call_shows_what_processes_share)
{
	int listener = listener_new(SOCK_NONBLOCK), set = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = DATA};
	struct late late, late2;
	pid_t child;

	CHECK(syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, listener, &event) == 0);
	if ((child = fork()) == 0)
		stay();
	late = late_begin(listener, 1);
	late2 = late_begin(listener, 2);
	for (int i = 0; i < 2; i++) {
		CHECK(shows(set, 50, 0));
		late_finish(i ? &late2 : &late);
		CHECK(shows(set, 500, DATA) && accepts(listener, i ? &late2 : &late));
	}
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
}

/* What another program left us: a listener, and perhaps a set that holds it. */
static void inherit(int flags, bool with_set)
{
	char first[16], second[16];
	int listener = listener_new(flags);
	int set = with_set ? epoll_create1(0) : -1;
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = DATA};

	if (arguments[2] == NULL) {
		if (with_set)
			CHECK(syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, listener, &event) == 0);
		snprintf(first, sizeof(first), "%d", listener);
		snprintf(second, sizeof(second), "%d", set);
		execl(self(), "waiting", arguments[1], first, second, NULL);
		CHECK(false);
	}
}

static void check_inherited_listener(int flags)
{
	inherit(flags, false);
	int listener = atoi(arguments[2]), set = epoll_with(listener, EPOLLIN, DATA);
	struct late late = late_begin(listener, 1);

	CHECK(shows(set, 50, 0));
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
	close(set);
	for (int way = 0; way < EPOLL; way++) {
		late = late_begin(listener, 2);
		CHECK(wait_by(way, listener, -1, 100) == 0);
		late_finish(&late);
		CHECK(wait_by(way, listener, -1, 500) == 1 && accepts(listener, &late));
	}
}

CASE(blocking_listener_is_inherited)
{
	check_inherited_listener(0);
}

CASE(nonblocking_listener_is_inherited)
{
	check_inherited_listener(SOCK_NONBLOCK);
}

static void check_inherited_set(int flags)
{
	inherit(flags, true);
	int listener = atoi(arguments[2]), set = atoi(arguments[3]);
	struct late late = late_begin(listener, 1);

	CHECK(shows(set, 50, 0));
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
	control(set, EPOLL_CTL_MOD, listener, EPOLLIN, OTHER);
	late = late_begin(listener, 2);
	late_finish(&late);
	CHECK(shows(set, 500, OTHER) && accepts(listener, &late));
}

CASE(blocking_listener_is_inherited_in_a_set)
{
	check_inherited_set(0);
}

CASE(nonblocking_listener_is_inherited_in_a_set)
{
	check_inherited_set(SOCK_NONBLOCK);
}

/* Woken for nothing, accept must not sleep on a blocking listener either: later ones come. */
CASE(blocking_listener_in_epoll_does_not_sleep_in_accept)
{
	int listener = listener_new(0), set = epoll_with(listener, EPOLLIN, DATA);
	struct late late = late_begin(listener, 1);
	struct epoll_event event;
	int64_t began = now_ms();

	if (!shim)
		return; /* nothing ever wakes it for nothing */
	while (now_ms() - began < DEADLINE_MS + SLACK_MS) {
		if (late.said < 20 && now_ms() - began > 20 * (int64_t)late.said)
			late_drip(&late);
		if (epoll_wait(set, &event, 1, 10) == 1)
			CHECK(accepts_nothing(listener));
	}
	CHECK(is_reset(late.fd, 0));
}

/* A program may hold its listener in a set and not wait there (apache2's prefork). */
CASE(listener_in_a_set_is_accepted_from_without_waiting)
{
	int listener = listener_new(0), set = epoll_with(listener, EPOLLIN, DATA), client, fd;
	struct late late = late_connect(listener, 1);
	pthread_t thread;

	client = client_new(listener, 2);
	CHECK((fd = accept(listener, NULL, NULL)) >= 0 && is_client(fd, client, 2));
	handled = 1;
	CHECK(pthread_create(&thread, NULL, finish_after_signal, &late) == 0);
	CHECK((fd = accept(listener, NULL, NULL)) >= 0);
	CHECK(pthread_join(thread, NULL) == 0 && is_client(fd, late.fd, 1));
	close(set);
}

/* Connections that were taken from the queue early end with their listener, as others. */
CASE(connection_in_sight_ends_with_its_listener)
{
	int listener = listener_new(0), client = client_new(listener, 1), second;

	CHECK(wait_by(POLL, listener, -1, 500) == 1);
	CHECK(close(accept(listener, NULL, NULL)) == 0 && close(client) == 0);
	client = client_new(listener, 2);
	CHECK(wait_by(POLL, listener, -1, 500) == 1);
	CHECK(close(listener) == 0);
	CHECK((second = listener_new(SOCK_NONBLOCK)) == listener);
	CHECK(wait_by(POLL, second, -1, 0) == 0 && accepts_nothing(second));
	CHECK(is_reset(client, 500));
}

/* A non-blocking listener at a number where accept slept before. */
static int listener_in_place_of(int listener, int way)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX}; /* autobind: unix(7) */
	int other;

	if (way == 0) {
		other = listener_new(SOCK_NONBLOCK);
		CHECK(dup2(other, listener) == listener && close(other) == 0);
		return listener;
	}
	CHECK(syscall(SYS_close, listener) == 0);
	other = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	CHECK(bind(other, sa(&name), sizeof(sa_family_t)) == 0 && listen(other, 5) == 0);
	return other;
}

CASE(number_of_a_blocking_listener_goes_to_one_that_is_not)
{
	for (int way = 0; way < 2; way++) {
		int listener = listener_new(0), second;
		struct late late = late_begin(listener, 1);

		late_finish(&late);
		CHECK(accepts(listener, &late));
		CHECK((second = listener_in_place_of(listener, way)) == listener);
		CHECK(accepts_nothing(second));
		CHECK(close(second) == 0);
	}
}

/* EAGAIN is for those who were woken for the listener. */
CASE(blocking_accept_sleeps_in_a_thread_that_was_woken_for_something_else)
{
	int listener = listener_new(0), pipes[2], set, fd;
	struct late late = late_connect(listener, 1);
	pthread_t thread;

	CHECK(pipe(pipes) == 0 && write(pipes[1], "x", 1) == 1);
	set = epoll_with(pipes[0], EPOLLIN, DATA);
	handle(SIGALRM, SA_RESTART);
	CHECK(pthread_create(&thread, NULL, finish_after_signal, &late) == 0);
	alarm_in(100 * slowness);
	CHECK(shows(set, 0, DATA));
	CHECK((fd = accept(listener, NULL, NULL)) >= 0 && handled == 1);
	CHECK(pthread_join(thread, NULL) == 0 && is_client(fd, late.fd, 1));
}

/* ---- fork, exec, and daemons that close what they do not know ---- */

/* A connection that is never heard of ends in time, whatever the child does. */
static void check_after_fork(struct late *silent, struct late *late, int listener, pid_t child)
{
	int fd;

	late_finish(late);
	CHECK((fd = accept(listener, NULL, NULL)) >= 0 && is_client(fd, late->fd, late->number));
	CHECK(close(fd) == 0);
	CHECK(ends(late->fd, 500)); /* the child holds no copy */
	CHECK(wait_by(POLL, listener, -1, DEADLINE_MS + SLACK_MS) == 0);
	if (shim)
		CHECK(is_reset(silent->fd, 0));
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
}

CASE(forked_child_has_no_copies)
{
	int listener = listener_new(0), before = descriptors(), ready[2];
	struct late silent = late_begin(listener, 1), late = late_begin(listener, 2);
	pid_t child;
	char byte;

	CHECK(pipe(ready) == 0);
	if ((child = fork()) == 0) {
		/* ready, and the clients, which are in this process too */
		CHECK(descriptors() == before + 2 + 2 * shim && write(ready[1], "x", 1) == 1);
		stay();
	}
	CHECK(child > 0 && read(ready[0], &byte, 1) == 1);
	check_after_fork(&silent, &late, listener, child);
	CHECK(descriptors() == before + 2 + 1 + shim);
}

/* vsftpd isolates its children in this way: no handler of pthread_atfork runs. */
CASE(raw_cloned_child_has_no_copies)
{
	int listener = listener_new(0), ready[2];
	struct late silent = late_begin(listener, 1), late = late_begin(listener, 2);
	pid_t child;
	char byte;

	CHECK(pipe(ready) == 0);
	if ((child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)) == 0) {
		CHECK(close(listener) == 0 && write(ready[1], "x", 1) == 1);
		stay();
	}
	CHECK(child > 0 && read(ready[0], &byte, 1) == 1);
	check_after_fork(&silent, &late, listener, child);
}

CASE(forked_child_accepts_on_its_own)
{
	int listener = listener_new(0);
	struct late late = late_begin(listener, 1);
	pid_t child;

	if ((child = fork()) == 0) {
		struct late own = late_begin(listener, 2);

		late_finish(&own);
		CHECK(accepts(listener, &own));
		_exit(0);
	}
	check_child(child);
	late_finish(&late);
	CHECK(accepts(listener, &late));
}

/* A set is one with the parent's. */
CASE(forked_child_that_closes_the_listener_leaves_the_set_alone)
{
	int listener = listener_new(SOCK_NONBLOCK),
	    set = epoll_with(listener, EPOLLIN, DATA);
	struct late late;
	pid_t child;

	if ((child = fork()) == 0) {
		CHECK(close(listener) == 0);
		_exit(0);
	}
	check_child(child);
	late = late_connect(listener, 1);
	if (shim) /* it shows, and comes to nothing */
		CHECK(shows(set, 500, DATA) && accepts_nothing(listener));
	CHECK(shows(set, 50, 0));
	late_finish(&late);
	CHECK(shows(set, DEADLINE_MS / 2, DATA) && accepts(listener, &late));
}

/* As workers end that have had their share of work, or too little of it. */
CASE(process_that_ends_leaves_the_late_to_the_others)
{
	int listener = listener_new(SOCK_NONBLOCK), pipes[2], set;
	struct late late;
	pid_t child;

	CHECK(pipe(pipes) == 0);
	if ((child = fork()) == 0) {
		set = epoll_with(listener, EPOLLIN, DATA);
		control(set, EPOLL_CTL_ADD, pipes[0], EPOLLIN, OTHER);
		CHECK(!shim || (shows(set, 500, DATA) && accepts_nothing(listener)));
		CHECK(shows(set, 1000, OTHER));
		exit(0);
	}
	late = late_connect(listener, 1);
	nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
	CHECK(write(pipes[1], "x", 1) == 1);
	check_child(child);
	set = epoll_with(listener, EPOLLIN, DATA);
	late_finish(&late);
	CHECK(shows(set, DEADLINE_MS / 2, DATA) && accepts(listener, &late));
}

/* Its program ends, or goes on as another. */
static void park_and_exit(int listener)
{
	pid_t child;

	if ((child = fork()) == 0) {
		CHECK(!shim || accepts_nothing(listener));
		exit(0);
	}
	check_child(child);
}

CASE(new_worker_hears_of_the_late)
{
	for (int way = 0; way < EPOLL; way++) {
		int listener = listener_new(SOCK_NONBLOCK), fd;
		struct late late = late_connect(listener, 1);
		pid_t child;

		park_and_exit(listener);
		if ((child = fork()) == 0) {
			do
				CHECK(wait_by(way, listener, -1, DEADLINE_MS / 2) == 1);
			while ((fd = accept(listener, NULL, NULL)) < 0 && errno == EAGAIN);
			_exit(fd < 0);
		}
		nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
		late_finish(&late);
		check_child(child);
	}
}

CASE(new_worker_that_has_lost_the_channel_waits_without)
{
	for (int way = 0; way < EPOLL; way++) {
		int listener = listener_new(SOCK_NONBLOCK);
		pid_t child;

		late_connect(listener, 1);
		park_and_exit(listener);
		if ((child = fork()) == 0) {
			CHECK(close_range(100, 1000, 0) == 0);
			_exit(wait_by(way, listener, -1, 300) != 0);
		}
		check_child(child);
	}
}

CASE(late_client_has_his_turn_while_others_come)
{
	enum { OTHERS = 40 };
	int listener = listener_new(SOCK_NONBLOCK), fd;
	struct late late = late_connect(listener, 1);
	bool served = false;

	park_and_exit(listener);
	CHECK(client_new(listener, 2) >= 0 && accept(listener, NULL, NULL) >= 0);
	late_finish(&late);
	for (int i = 0; i < OTHERS; i++)
		client_new(listener, 2);
	for (int i = 0; i < OTHERS && !served; i++) {
		CHECK((fd = accept(listener, NULL, NULL)) >= 0);
		served = is_client(fd, late.fd, 1);
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	CHECK(served);
}

CASE(successor_of_a_program_takes_over_the_late)
{
	int listener = listener_new(SOCK_NONBLOCK), set;
	char first[16], second[16];
	struct late late;

	if (arguments[2] == NULL) {
		late = late_begin(listener, 1);
		snprintf(first, sizeof(first), "%d", listener);
		snprintf(second, sizeof(second), "%d", dup(late.fd));
		execl(self(), "waiting", arguments[1], first, second, NULL);
		CHECK(false);
	}
	listener = atoi(arguments[2]);
	late = (struct late){name_of(listener), atoi(arguments[3]), 1, 0};
	set = epoll_with(listener, EPOLLIN, DATA);
	late_finish(&late);
	CHECK(shows(set, DEADLINE_MS / 2, DATA) && accepts(listener, &late));
}

/* Some look at their listener now and then, among other things that they wait for. */
CASE(shared_listener_that_nobody_waits_for_is_accepted_from)
{
	int listener = listener_new(SOCK_NONBLOCK), pipes[2], set, fd;
	struct late late;
	pid_t child;

	CHECK(pipe(pipes) == 0 && write(pipes[1], "x", 1) == 1);
	set = epoll_with(pipes[0], EPOLLIN, DATA);
	if ((child = fork()) == 0)
		stay();
	CHECK(shows(set, 0, DATA));
	late = late_begin(listener, 1);
	late_finish(&late);
	for (int i = 0; i < 50 && (fd = accept(listener, NULL, NULL)) < 0; i++) {
		CHECK(errno == EAGAIN && shows(set, 0, DATA));
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	CHECK(fd >= 0 && is_client(fd, late.fd, 1));
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
}

static void *accept_one(void *listener)
{
	return (void *)(intptr_t)accept(*(int *)listener, NULL, NULL);
}

/* How long a thread that sleeps in accept beside a late client takes to get another. */
static int64_t head_start_ns(int listener)
{
	struct late late = late_begin(listener, 1);
	struct timespec began, ended;
	pthread_t thread;
	int client;
	void *fd;

	CHECK(pthread_create(&thread, NULL, accept_one, &listener) == 0);
	wait_until_it_sleeps();
	clock_gettime(CLOCK_MONOTONIC, &began);
	client = client_new(listener, 2);
	CHECK(pthread_join(thread, &fd) == 0);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	CHECK(is_client((int)(intptr_t)fd, client, 2));
	late_finish(&late);
	CHECK(accepts(listener, &late));
	return (ended.tv_sec - began.tv_sec) * 1000000000 + ended.tv_nsec - began.tv_nsec;
}

/* Others may be in the kernel's accept, who cannot hear of the late: they are to be
 * first. */
CASE(process_that_looks_after_the_late_gives_others_a_head_start)
{
	int listener = listener_new(0);
	pid_t child = fork();

	if (child == 0)
		stay();
	for (int i = 0; i < 5; i++) /* a slow machine does not make it too short */
		CHECK(head_start_ns(listener) >= (shim ? 5000000 : 0));
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
}

static void close_in_a_vforked_child(int fd)
{
	pid_t child = vfork();

	if (child == 0) {
		close(fd);
		_exit(0);
	}
	check_child(child);
}

CASE(vforked_child_that_closes_the_listener_does_no_harm)
{
	for (int way = 0; way < EPOLL; way++) {
		int listener = listener_new(0), client = client_new(listener, 1);
		struct late late;

		CHECK(wait_by(way, listener, -1, 500) == 1);
		CHECK(close(accept(listener, NULL, NULL)) == 0 && close(client) == 0);
		close_in_a_vforked_child(listener);
		late = late_connect(listener, 2);
		CHECK(wait_by(way, listener, -1, 100) == 0);
		late_finish(&late);
		CHECK(wait_by(way, listener, -1, 500) == 1 && accepts(listener, &late));
		close(listener);
	}
}

CASE(vforked_child_does_no_harm)
{
	static char *const command[] = {"waiting", "nothing", NULL};
	int listener = listener_new(0), set = epoll_with(listener, EPOLLIN, DATA);
	struct late late = late_begin(listener, 1);
	posix_spawn_file_actions_t actions;
	pid_t child;

	if ((child = vfork()) == 0) {
		close(listener);
		execv(self(), command);
		_exit(1);
	}
	check_child(child);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclose(&actions, listener);
	CHECK(posix_spawn(&child, self(), &actions, NULL, command, environ) == 0);
	posix_spawn_file_actions_destroy(&actions);
	check_child(child);
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
}

CASE(executed_program_inherits_nothing_parked)
{
	int listener = listener_new(0), before = descriptors();
	char text[16];
	pid_t child;

	if (arguments[2] != NULL) {
		/* Our own listener, and its channel. */
		CHECK(descriptors() - (shim ? 3 : 1) == atoi(arguments[2]));
		return;
	}
	late_begin(listener, 1);
	late_begin(listener, 2);
	snprintf(text, sizeof(text), "%d", before);
	if ((child = fork()) == 0) {
		execl(self(), "waiting", arguments[1], text, NULL);
		_exit(1);
	}
	check_child(child);
}

/* It makes the cookies of TCP Fast Open: who knows it forges the balancer's address. */
CASE(key_of_a_listener_is_not_that_of_another_program)
{
	int listener = listener_new(0);
	unsigned char key[33] = {0};
	char text[sizeof(key)] = "";
	socklen_t size = sizeof(key);
	pid_t child;

	late_begin(listener, 1);
	CHECK(getsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, &size) == 0);
	CHECK(size == (shim ? 16 : 0));
	for (size_t i = 0; i < size; i++) /* an argument holds no zeros */
		text[i] = (char)(key[i] | 1);
	if (arguments[2] != NULL) {
		for (size_t i = 0, same = 0; i < size; i++)
			CHECK((same += arguments[2][i] == text[i]) < 12);
		return;
	}
	if ((child = fork()) == 0) {
		execl(self(), "waiting", arguments[1], text, NULL);
		_exit(1);
	}
	check_child(child);
}

static int inheritable(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) == 0;
	return count;
}

/* poll may have taken it: a program that is started now shall not have it. */
CASE(connection_is_not_there_before_it_is_accepted)
{
	int listener = listener_new(0), before, fd;

	for (int i = 0; i < 4; i++) {
		client_new(listener, i);
		before = inheritable();
		CHECK(wait_by(POLL, listener, -1, 500) == 1 && inheritable() == before);
		fd = accept4(listener, NULL, NULL, i % 2 ? SOCK_CLOEXEC : 0);
		CHECK(fd >= 0 && fcntl(fd, F_GETFD) == (i % 2 ? FD_CLOEXEC : 0));
	}
}

/* As inetd's children: the connection gets the number that the listener had. */
CASE(connection_in_the_place_of_a_listener_keeps_its_client)
{
	int listener = listener_new(0), client, fd;

	for (int i = 0; i < 2; i++) {
		client = client_new(listener, i);
		CHECK(wait_by(POLL, listener, -1, 500) == 1);
		CHECK((fd = accept(listener, NULL, NULL)) >= 0);
	}
	CHECK(dup2(fd, listener) == listener);
	say(client, "x", 1);
	CHECK(wait_by(POLL, listener, -1, 500) == 1 && is_client(listener, client, 1));
	CHECK((fcntl(listener, F_GETFL) & O_NONBLOCK) == 0);
	CHECK(wait_by(SELECT, listener, -1, 500) == 1 && is_client(listener, client, 1));
}

static void close_above_2(int way)
{
	if (way == 0)
		CHECK(close_range(3, ~0u, 0) == 0);
	else if (way == 1)
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
	else if (way == 2)
		for (int fd = 3; fd < 1024; fd++)
			syscall(SYS_close, fd);
	else
		closefrom(3);
}

/* Daemons start like this. Every number is somebody else's afterwards. */
CASE(daemon_closes_what_it_does_not_know)
{
	for (int way = 0; way < 4; way++) {
		int listener = listener_new(0), set = epoll_with(listener, EPOLLIN, DATA);
		int others[40], pipes[2], alien[2], spare;
		struct late late;
		struct epoll_event event;
		struct pollfd one;
		uint64_t ticks;

		late_begin(listener, 1), late_begin(listener, 2), late_begin(listener, 3);
		close_above_2(way);
		/* pipes, sets and timers where there were rooms and connections */
		for (int i = 0; i < 40; i += 4) {
			struct itimerspec in = {.it_value = {.tv_sec = 1}};

			CHECK(pipe(pipes) == 0 && write(pipes[1], "x", 1) == 1);
			others[i] = pipes[0], others[i + 1] = pipes[1];
			others[i + 2] = epoll_create1(0);
			control(others[i + 2], EPOLL_CTL_ADD, pipes[0], EPOLLIN, OTHER);
			others[i + 3] = timerfd_create(CLOCK_MONOTONIC, 0);
			CHECK(timerfd_settime(others[i + 3], 0, &in, NULL) == 0);
		}
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, alien) == 0);
		listener = listener_new(way & 1 ? SOCK_NONBLOCK : 0);
		spare = epoll_with(listener, EPOLLIN, DATA);
		late = late_begin(listener, 4);
		CHECK(shows(spare, DEADLINE_MS / 2, 0));
		late_finish(&late);
		CHECK(shows(spare, 500, DATA) && accepts(listener, &late));
		late = late_begin(listener, 5);
		one = (struct pollfd){.fd = listener, .events = POLLIN};
		CHECK(poll(&one, 1, DEADLINE_MS / 2) == 0); /* past the first ones' deadline */
		late_finish(&late);
		CHECK(poll(&one, 1, 500) == 1 && accepts(listener, &late));
		for (int i = 0; i < 40; i += 4) {
			char byte;

			CHECK(epoll_wait(others[i + 2], &event, 1, 0) == 1);
			CHECK(event.data.u64 == OTHER);
			CHECK(read(others[i], &byte, 1) == 1 && byte == 'x');
			CHECK(epoll_wait(others[i + 2], &event, 1, 0) == 0);
			CHECK(write(others[i + 1], "x", 1) == 1);
			CHECK(read(others[i + 3], &ticks, sizeof(ticks)) == sizeof(ticks));
			CHECK(ticks == 1);
		}
		CHECK(write(alien[0], "x", 1) == 1 && read(alien[1], &ticks, 1) == 1);
		close_above_2(0);
		(void)set;
	}
}

/* poll has seen to it that there is a connection; then the program closes what it does not
 * know, and opens something else. */
CASE(what_the_program_opens_is_no_connection)
{
	for (int way = 0; way < 4; way++) {
		int listener = listener_new(0), client, next, fd, own;

		for (int number = 0; number < 2; number++) { /* from now on poll makes sure */
			client = client_new(listener, number);
			CHECK(wait_by(POLL, listener, -1, 500) == 1);
			CHECK((fd = accept(listener, NULL, NULL)) >= 0);
			CHECK(is_client(fd, client, number));
			CHECK(close(fd) == 0 && close(client) == 0);
		}
		client = client_new(listener, 2);
		CHECK(wait_by(POLL, listener, -1, 500) == 1);
		CHECK(client > listener && close_range((unsigned)client + 1, ~0u, 0) == 0);
		CHECK((own = open("/dev/null", O_RDONLY)) >= 0);
		if (way & 1) { /* the child has copies to close */
			pid_t child = fork();

			if (child == 0)
				_exit(fcntl(own, F_GETFD) != 0);
			check_child(child);
		}
		if (way & 2)
			CHECK(wait_by(POLL, listener, -1, 0) == !shim);
		next = client_new(listener, 3);
		CHECK((fd = accept(listener, NULL, NULL)) >= 0);
		CHECK(is_client(fd, shim ? next : client, shim ? 3 : 2));
		CHECK(close(fd) == 0 && fcntl(own, F_GETFD) == 0);
		CHECK(close(own) == 0 && close(next) == 0 && close(client) == 0);
		CHECK(close(listener) == 0);
	}
}

/* Where channels are, or would be. */
static void place_pairs(int set, int fds[64])
{
	for (int i = 0; i < 64; i += 2) {
		CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds + i) == 0);
		for (int end = i; end < i + 2; end++) {
			CHECK(dup2(fds[end], 190 + end) == 190 + end);
			CHECK(close(fds[end]) == 0);
			fds[end] = 190 + end;
			control(set, EPOLL_CTL_ADD, fds[end], EPOLLIN, OTHER);
		}
	}
}

static void check_pairs(int set, const int fds[64])
{
	char byte;

	for (int i = 0; i < 64; i++) {
		CHECK(write(fds[i], "x", 1) == 1);
		CHECK(shows(set, 500, OTHER));
		CHECK(read(fds[i ^ 1], &byte, 1) == 1 && byte == 'x');
	}
	CHECK(shows(set, 0, 0));
}

CASE(numbers_of_channels_are_the_programs)
{
	int listener = listener_new(SOCK_NONBLOCK),
	    set = epoll_with(listener, EPOLLIN, DATA);
	int fds[64];
	struct late late;
	pid_t child;

	if ((child = fork()) == 0) /* from now on there are others to share with */
		_exit(0);
	check_child(child);
	CHECK(close_range(100, 1000, 0) == 0);
	place_pairs(set, fds);
	check_pairs(set, fds);
	control(set, EPOLL_CTL_DEL, listener, 0, 0);
	check_pairs(set, fds);
	control(set, EPOLL_CTL_ADD, listener, EPOLLIN, DATA);
	check_pairs(set, fds);
	late = late_begin(listener, 1);
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
	CHECK(close(listener) == 0);
	check_pairs(set, fds);
}

/* The set goes on to say what the process cannot take: it must not ask for ever. */
CASE(wait_does_not_spin_in_a_process_that_has_lost_its_channel)
{
	int listener = listener_new(SOCK_NONBLOCK), set, ready[2];
	struct rusage used;
	pid_t child;
	char byte;

	CHECK(pipe(ready) == 0);
	if ((child = fork()) == 0) {
		set = epoll_with(listener, EPOLLIN, DATA);
		CHECK(accepts_nothing(listener));
		CHECK(close_range(100, 1000, 0) == 0);
		CHECK(write(ready[1], "x", 1) == 1);
		epoll_wait(set, &(struct epoll_event){0}, 1, DEADLINE_MS / 2);
		_exit(0);
	}
	set = epoll_with(listener, EPOLLIN, DATA);
	CHECK(read(ready[0], &byte, 1) == 1);
	late_connect(listener, 1);
	if (shim)
		CHECK(shows(set, 500, DATA) && accepts_nothing(listener));
	check_child(child);
	CHECK(getrusage(RUSAGE_CHILDREN, &used) == 0);
	CHECK(used.ru_utime.tv_usec + used.ru_stime.tv_usec < DEADLINE_MS * 1000 / 10);
}

/* The numbers of the room and the connection go to the program's own sockets. */
CASE(descriptor_numbers_are_reused)
{
	int listener = listener_new(SOCK_NONBLOCK), set = epoll_with(listener, EPOLLIN, DATA);
	int fds[32], pair[2];
	struct late late = late_begin(listener, 1);
	char byte;

	/* all but ours, behind everybody's back */
	for (int fd = 3; fd < 64; fd++)
		if (fd != listener && fd != set && fd != late.fd)
			syscall(SYS_close, fd);
	for (int i = 0; i < 32; i += 2) {
		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
		fds[i] = pair[0], fds[i + 1] = pair[1];
	}
	CHECK(shows(set, 50, 0) || shim);
	if (shim)
		pass_by(listener);
	late = late_begin(listener, 2);
	late_finish(&late);
	CHECK(shows(set, 500, DATA) && accepts(listener, &late));
	shows(set, DEADLINE_MS + SLACK_MS, 0);
	CHECK(accepts_nothing(listener));
	for (int i = 0; i < 32; i += 2)
		CHECK(write(fds[i], "x", 1) == 1 && read(fds[i + 1], &byte, 1) == 1);
}

/* ---- clients that leave ---- */

CASE(clients_that_leave_are_forgotten)
{
	for (int way = 0; way < 2; way++) {
		int listener = listener_new(SOCK_NONBLOCK);
		int set = epoll_with(listener, EPOLLIN, DATA), before = descriptors();
		struct epoll_event event;
		struct late lates[10];
		int64_t began = now_ms();

		for (int i = 0; i < 10; i++)
			lates[i] = late_begin(listener, i);
		for (int i = 0; i < 10 && shim; i++) {
			if (way)
				CHECK(setsockopt(lates[i].fd, SOL_SOCKET, SO_LINGER,
						 &(struct linger){1, 0},
						 sizeof(struct linger)) == 0);
			CHECK(close(lates[i].fd) == 0);
		}
		while (descriptors() > before && took(began, 0, DEADLINE_MS / 2))
			if (epoll_wait(set, &event, 1, 100) == 1)
				CHECK(accepts_nothing(listener));
		CHECK(descriptors() == before);
	}
}

/* TCP_DEFER_ACCEPT and the backlog of a listener with this one, for the tests to judge. */
static void print_deferral(int backlog)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), seconds = -1;
	socklen_t size = sizeof(seconds), info_size = sizeof(struct tcp_info);
	struct tcp_info info = {0};

	CHECK(listen(listener, backlog) == 0);
	CHECK(getsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, &size) == 0);
	CHECK(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &info_size) == 0);
	printf("%d %u\n", seconds, info.tcpi_sacked);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "deferral") == 0) {
		print_deferral(atoi(argv[2]));
		return 0;
	}
	return run_case(argc, argv);
}
