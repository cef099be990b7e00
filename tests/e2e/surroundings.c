/* SPDX-License-Identifier: MIT */
/*
 * Programs that accept in odd places: surroundings CASE. Each meets one client, who says
 * to be 203.0.113.7 port 1000, and ends with 0 when it was told so.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

static _Noreturn void fail(int line, const char *condition)
{
	dprintf(1, "line %d: not so: %s (%s)\n", line, condition, strerror(errno));
	_exit(1);
}

static int listener = -1, client = -1;
static struct sockaddr_in address;

static const char header[] = "PROXY TCP4 203.0.113.7 198.51.100.1 1000 443\r\n";

/* A client, who has sent some bytes of the header. */
static void connect_and_send(size_t bytes)
{
	CHECK((client = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	CHECK(connect(client, (struct sockaddr *)&address, sizeof(address)) == 0);
	CHECK(send(client, header, bytes, 0) == (ssize_t)bytes);
}

/* A listener with a client in its queue. */
static void prepare(void)
{
	socklen_t size = sizeof(address);

	address = (struct sockaddr_in){.sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CHECK((listener = socket(AF_INET, SOCK_STREAM, 0)) >= 0);
	CHECK(bind(listener, (struct sockaddr *)&address, size) == 0);
	CHECK(listen(listener, 5) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
	connect_and_send(sizeof(header) - 1);
}

static bool is_the_client(struct sockaddr_in name)
{
	return ntohs(name.sin_port) == 1000 &&
	       name.sin_addr.s_addr == inet_addr("203.0.113.7");
}

static int take(void)
{
	struct sockaddr_in said = {0}, name = {0};
	socklen_t size = sizeof(said);
	int fd = accept(listener, (struct sockaddr *)&said, &size);

	CHECK(fd >= 0 && is_the_client(said));
	CHECK(getpeername(fd, (struct sockaddr *)&name, &size) == 0);
	CHECK(is_the_client(name));
	return fd;
}

/* ---- the cases ---- */

static void plainly(void)
{
	prepare();
	close(take());
}

static void in_constructor(void)
{
}

__attribute__((constructor(101))) static void construct(void)
{
	char name[64] = "";
	int file = open("/proc/self/cmdline", O_RDONLY);
	ssize_t n = read(file, name, sizeof(name) - 1);

	close(file);
	for (ssize_t i = 0; i < n; i++)
		if (strcmp(name + i, "in_constructor") == 0)
			plainly();
}

static void handle(int number)
{
	(void)number;
	close(take());
}

static void in_signal_handler(void)
{
	signal(SIGUSR1, handle);
	prepare();
	CHECK(raise(SIGUSR1) == 0);
}

static void after_vfork(void)
{
	int status;
	pid_t child;

	prepare();
	child = vfork();
	if (child == 0)
		_exit(take() < 0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* The next three descriptors are connections; nothing may be written into them. */
static void without_standard_descriptors(void)
{
	char byte;
	int report = fcntl(1, F_DUPFD, 10);

	for (int fd = 0; fd < 3; fd++)
		close(fd);
	prepare();
	CHECK(listener == 0 && client == 1);
	CHECK(take() == 2);
	CHECK(send(client, "PROXY junk\r\n", 12, 0) == 12);
	CHECK(recv(client, &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
	dup2(report, 1);
}

static void with_eight_descriptors(void)
{
	CHECK(setrlimit(RLIMIT_NOFILE, &(struct rlimit){8, 8}) == 0);
	prepare();
	for (int i = 0; i < 20; i++) {
		close(take());
		close(client);
		close(listener);
		prepare();
	}
}

static void in_an_empty_root(void)
{
	char folder[] = "/tmp/truepeer.XXXXXX";

	CHECK(mkdtemp(folder) != NULL);
	if (chroot(folder) != 0 || chdir("/") != 0)
		exit(77);
	plainly();
}

#define ALLOW(call)                                                                      \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),                           \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Kills on all calls but the program's own, and those truepeer(7) names. */
static void in_a_sandbox(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		ALLOW(accept),
		ALLOW(getpeername),
		ALLOW(close),
		ALLOW(exit_group),
		ALLOW(write), /* of fail() */
		ALLOW(recvfrom),
		ALLOW(getsockopt),
		ALLOW(setsockopt),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(*filter), filter};

	plainly();
	prepare();
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	close(take());
}

/* The settings are read, statistics and a log opened, headers waited for, all in here. */
static void *serve(void *unused)
{
	fd_set ready;
	struct timeval limit = {0};

	plainly();
	connect_and_send(20);
	FD_ZERO(&ready);
	FD_SET(listener, &ready);
	CHECK(select(listener + 1, &ready, NULL, NULL, &limit) >= 0);
	CHECK(send(client, header + 20, sizeof(header) - 21, 0) == sizeof(header) - 21);
	close(take());
	return unused;
}

static void on_a_small_stack(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setstacksize(&attributes, 32 * 1024) == 0);
	CHECK(pthread_create(&thread, &attributes, serve, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"plainly", plainly},
	{"in_constructor", in_constructor},
	{"in_signal_handler", in_signal_handler},
	{"after_vfork", after_vfork},
	{"without_standard_descriptors", without_standard_descriptors},
	{"with_eight_descriptors", with_eight_descriptors},
	{"in_an_empty_root", in_an_empty_root},
	{"in_a_sandbox", in_a_sandbox},
	{"on_a_small_stack", on_a_small_stack},
};

int main(int argc, char **argv)
{
	alarm(10);
	for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(*cases); i++)
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	return 2;
}
