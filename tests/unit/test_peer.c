/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/wait.h>

#include "peer_table.h"
#include "sockets.h"

#ifndef TCP_FASTOPEN_KEY
#define TCP_FASTOPEN_KEY 33
#endif
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define AFTER_EXEC "--look-at-standard-input"

static const struct tp_peer ipv4_peer = {
	.client = {AF_INET, 56324, {203, 0, 113, 7}},
	.destination = {AF_INET, 443, {192, 0, 2, 1}},
};
static const struct tp_peer ipv6_peer = {
	.client = {AF_INET6, 56324, {0x20, 0x01, 0x0d, 0xb8, [15] = 7}},
	.report = TP_PEER_IPV6,
};
static const struct tp_peer no_peer = {.client.family = AF_UNSPEC};

static const struct {
	sa_family_t family; /* of the socket */
	const struct tp_peer *peer;
} cases[] = {
	{AF_INET, &ipv4_peer},	{AF_INET, &ipv6_peer},	{AF_INET, &no_peer},
	{AF_INET6, &ipv4_peer}, {AF_INET6, &ipv6_peer}, {AF_INET6, &no_peer},
};

static bool same_addr(const struct tp_addr *a, const struct tp_addr *b)
{
	return a->family == b->family && a->port == b->port &&
	       !memcmp(a->ip, b->ip, sizeof a->ip);
}

static bool holds(int fd, const struct tp_peer *expected)
{
	struct tp_peer peer;
	return tp_peer_get(fd, &peer) && same_addr(&peer.client, &expected->client) &&
	       same_addr(&peer.destination, &expected->destination) &&
	       peer.report == expected->report &&
	       peer.tells_destination == expected->tells_destination;
}

static bool holds_nothing(int fd)
{
	struct tp_peer peer;
	return !tp_peer_get(fd, &peer);
}

/* Whether the child, which goes on in `if (in_child(...))`, is content. */
static void assert_child_is_content(pid_t pid)
{
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void leave(bool content)
{
	_exit(content ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* ---- the socket remembers ---- */

START_TEST(the_socket_remembers)
{
	struct pair pair = connected(cases[_i].family);
	ck_assert(holds_nothing(pair.server));
	ck_assert(tp_peer_put(pair.server, cases[_i].peer));
	ck_assert(holds(pair.server, cases[_i].peer));
	ck_assert(holds_nothing(pair.client));
	ck_assert_uint_eq(tp_peer_table_count(), 0);
	hang_up(pair);
}
END_TEST

START_TEST(the_last_one_put_counts)
{
	struct pair pair = connected(AF_INET);
	ck_assert(tp_peer_put(pair.server, &ipv6_peer));
	ck_assert(tp_peer_put(pair.server, &ipv4_peer));
	ck_assert(holds(pair.server, &ipv4_peer));
	hang_up(pair);
}
END_TEST

START_TEST(it_survives_dup)
{
	struct pair pair = connected(cases[_i].family);
	ck_assert(tp_peer_put(pair.server, cases[_i].peer));
	int other = dup(pair.server);
	close(pair.server);
	ck_assert(holds(other, cases[_i].peer));
	close(other);
	close(pair.client);
}
END_TEST

START_TEST(it_survives_fork)
{
	struct pair pair = connected(cases[_i].family);
	ck_assert(tp_peer_put(pair.server, cases[_i].peer));
	pid_t pid = fork();
	if (!pid)
		leave(holds(pair.server, cases[_i].peer));
	assert_child_is_content(pid);
	hang_up(pair);
}
END_TEST

START_TEST(it_survives_exec)
{
	char program[PATH_MAX] = "";
	ck_assert_int_gt(readlink("/proc/self/exe", program, sizeof program - 1), 0);
	struct pair pair = connected(AF_INET);
	ck_assert(tp_peer_put(pair.server, &ipv4_peer));
	pid_t pid = fork();
	if (!pid) {
		dup2(pair.server, STDIN_FILENO);
		execl(program, "test_peer", AFTER_EXEC, (char *)NULL);
		leave(false);
	}
	assert_child_is_content(pid);
	hang_up(pair);
}
END_TEST

static struct msghdr with_room_for_a_descriptor(struct iovec *iov, void *control,
						size_t size)
{
	return (struct msghdr){.msg_iov = iov,
			       .msg_iovlen = 1,
			       .msg_control = control,
			       .msg_controllen = size};
}

static void send_descriptor(int to, int fd)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec iov = {"x", 1};
	struct msghdr message =
		with_room_for_a_descriptor(&iov, &control, sizeof control);
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);
	*head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd),
				 .cmsg_level = SOL_SOCKET,
				 .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(head), &fd, sizeof fd);
	ck_assert_int_eq(sendmsg(to, &message, 0), 1);
}

static int receive_descriptor(int from)
{
	union {
		char room[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	int fd = -1;
	struct iovec iov = {&byte, 1};
	struct msghdr message =
		with_room_for_a_descriptor(&iov, &control, sizeof control);
	if (recvmsg(from, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

START_TEST(it_survives_passing_the_descriptor)
{
	int channel[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, channel), 0);
	pid_t pid = fork(); /* before there is a connection */
	if (!pid)
		leave(holds(receive_descriptor(channel[1]), cases[_i].peer));
	struct pair pair = connected(cases[_i].family);
	ck_assert(tp_peer_put(pair.server, cases[_i].peer));
	send_descriptor(channel[0], pair.server);
	hang_up(pair);
	assert_child_is_content(pid);
}
END_TEST

START_TEST(it_survives_a_reset)
{
	struct pair pair = connected(cases[_i].family);
	ck_assert(tp_peer_put(pair.server, cases[_i].peer));
	reset(pair.client);
	await_event(pair.server, POLLIN);
	ck_assert(holds(pair.server, cases[_i].peer));
	close(pair.server);
}
END_TEST

START_TEST(it_can_be_put_after_a_reset)
{
	struct pair pair = connected(AF_INET);
	reset(pair.client);
	await_event(pair.server, POLLIN);
	ck_assert(tp_peer_put(pair.server, &ipv4_peer));
	ck_assert(holds(pair.server, &ipv4_peer));
	close(pair.server);
}
END_TEST

START_TEST(it_changes_nothing_for_the_data)
{
	struct pair pair = connected(AF_INET);
	char text[6] = "";
	send_all(pair.client, "hello", 5);
	ck_assert(tp_peer_put(pair.server, &ipv4_peer));
	await_bytes(pair.server, 5);
	ck_assert_int_eq(recv(pair.server, text, sizeof text, 0), 5);
	ck_assert_str_eq(text, "hello");
	hang_up(pair);
}
END_TEST

/* ---- what is not a record ---- */

START_TEST(a_listeners_fast_open_key_is_not_a_record)
{
	uint8_t key[32];
	union loopback name;
	int listener = listen_on_loopback(AF_INET, &name), queue = 5;
	draw_bytes(key, sizeof key);
	ck_assert_int_eq(
		setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, sizeof key), 0);
	setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue);
	struct pair pair = connect_to(listener, &name);
	ck_assert(holds_nothing(listener));
	ck_assert(holds_nothing(pair.server));
	ck_assert(tp_peer_put(pair.server, &ipv4_peer));
	ck_assert(holds(pair.server, &ipv4_peer));
	ck_assert(holds_nothing(listener));
	hang_up(pair);
	close(listener);
}
END_TEST

START_TEST(a_record_on_a_listener_is_not_its_connections)
{
	union loopback name;
	int listener = listen_on_loopback(AF_INET, &name);
	ck_assert(tp_peer_put(listener, &ipv4_peer));
	struct pair pair = connect_to(listener, &name);
	ck_assert(holds_nothing(pair.server));
	hang_up(pair);
	close(listener);
}
END_TEST

START_TEST(the_programs_own_key_is_not_a_record)
{
	const socklen_t sizes[] = {16, 32};
	struct pair pair = connected(AF_INET);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		uint8_t key[32];
		draw_bytes(key, sizeof key);
		ck_assert_int_eq(setsockopt(pair.server, IPPROTO_TCP, TCP_FASTOPEN_KEY,
					    key, sizes[i]),
				 0);
		ck_assert(holds_nothing(pair.server));
	}
	hang_up(pair);
}
END_TEST

START_TEST(what_is_no_socket_holds_nothing)
{
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	int file = open("/dev/null", O_RDWR);
	const int fds[] = {-1, 9999, pipes[0], file};
	for (size_t i = 0; i < COUNT(fds); i++) {
		errno = 4711;
		ck_assert(holds_nothing(fds[i]));
		ck_assert(!tp_peer_put(fds[i], &ipv4_peer));
		ck_assert_int_eq(errno, 4711);
	}
}
END_TEST

START_TEST(errno_is_kept)
{
	struct pair pair = connected(AF_INET);
	errno = 4711;
	ck_assert(holds_nothing(pair.server));
	ck_assert(tp_peer_put(pair.server, &ipv4_peer));
	ck_assert(holds(pair.server, &ipv4_peer));
	ck_assert_int_eq(errno, 4711);
	hang_up(pair);
}
END_TEST

START_TEST(a_record_of_another_version_is_known_but_not_read)
{
	uint8_t key[32];
	socklen_t size = sizeof key;
	struct pair pair = connected(AF_INET);
	ck_assert(!tp_peer_is_known(pair.server));
	ck_assert(tp_peer_put(pair.server, &ipv4_peer));
	ck_assert(tp_peer_is_known(pair.server));
	getsockopt(pair.server, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, &size);
	key[7]++;
	setsockopt(pair.server, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, size);
	ck_assert(tp_peer_is_known(pair.server));
	ck_assert(holds_nothing(pair.server));
	key[6]++;
	setsockopt(pair.server, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, size);
	ck_assert(!tp_peer_is_known(pair.server));
	hang_up(pair);
}
END_TEST

/* ---- the second choice ---- */

START_TEST(an_ipv6_destination_is_kept_in_the_table_if_it_is_to_be_told)
{
	struct tp_peer peer = ipv6_peer;
	struct pair pair = connected(AF_INET6);
	peer.destination = (struct tp_addr){AF_INET6, 443, {0x20, 1, [15] = 1}};
	ck_assert(tp_peer_put(pair.server, &peer));
	ck_assert_uint_eq(tp_peer_table_count(), 0);
	ck_assert(holds(pair.server, &ipv6_peer));
	peer.tells_destination = true;
	ck_assert(tp_peer_put(pair.server, &peer));
	ck_assert_uint_eq(tp_peer_table_count(), 1);
	ck_assert(holds(pair.server, &peer));
	hang_up(pair);
}
END_TEST

START_TEST(an_ipv4_destination_that_is_to_be_told_is_on_the_socket)
{
	struct tp_peer peer = ipv4_peer;
	struct pair pair = connected(AF_INET);
	peer.tells_destination = true;
	ck_assert(tp_peer_put(pair.server, &peer));
	ck_assert_uint_eq(tp_peer_table_count(), 0);
	ck_assert(holds(pair.server, &peer));
	hang_up(pair);
}
END_TEST

START_TEST(a_socket_without_the_slot_is_kept_in_the_table)
{
	int ends[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	ck_assert(holds_nothing(ends[0]));
	errno = 4711;
	ck_assert(tp_peer_put(ends[0], cases[_i].peer));
	ck_assert_int_eq(errno, 4711);
	ck_assert_uint_eq(tp_peer_table_count(), 1);
	int other = dup(ends[0]);
	ck_assert(holds(ends[0], cases[_i].peer));
	ck_assert(holds(other, cases[_i].peer));
	ck_assert(tp_peer_is_known(other) && !tp_peer_is_known(ends[1]));
	ck_assert(holds_nothing(ends[1]));
	pid_t pid = fork();
	if (!pid)
		leave(holds(other, cases[_i].peer));
	assert_child_is_content(pid);
}
END_TEST

START_TEST(an_mptcp_socket_is_kept_somewhere)
{
	int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	if (fd < 0)
		return; /* the kernel has none */
	ck_assert(holds_nothing(fd));
	ck_assert(tp_peer_put(fd, &ipv4_peer));
	ck_assert(holds(fd, &ipv4_peer));
	close(fd);
}
END_TEST

/* ---- as the kernel would have it ---- */

#define IPV6_CLIENT "2001:db8::1"
#define PSEUDO "254.91.4.242" /* its FNV-1a hash; always the same */

static const struct {
	const char *client;
	enum tp_peer_report report;
	sa_family_t socket_family;
	socklen_t room;
	const char *expected;
} reports[] = {
	{"203.0.113.7", TP_PEER_PLAIN, AF_INET, 128, "203.0.113.7"},
	{"203.0.113.7", TP_PEER_PLAIN, AF_INET, 0, "203.0.113.7"},
	{"203.0.113.7", TP_PEER_IPV6, AF_INET, 128, "203.0.113.7"},
	{"203.0.113.7", TP_PEER_PLAIN, AF_INET6, 128, "::ffff:203.0.113.7"},
	{"203.0.113.7", TP_PEER_IPV6, AF_INET6, 0, "::ffff:203.0.113.7"},
	{IPV6_CLIENT, TP_PEER_PLAIN, AF_INET6, 128, IPV6_CLIENT},
	{IPV6_CLIENT, TP_PEER_PLAIN, AF_INET6, 0, IPV6_CLIENT},
	{IPV6_CLIENT, TP_PEER_IPV6, AF_INET6, 16, IPV6_CLIENT},
	{IPV6_CLIENT, TP_PEER_PLAIN, AF_INET, 128, PSEUDO},
	{IPV6_CLIENT, TP_PEER_PLAIN, AF_INET, 16, PSEUDO},
	{IPV6_CLIENT, TP_PEER_PLAIN, AF_INET, 0, PSEUDO},
	{IPV6_CLIENT, TP_PEER_IPV6, AF_INET, 128, IPV6_CLIENT},
	{IPV6_CLIENT, TP_PEER_IPV6, AF_INET, 28, IPV6_CLIENT},
	{IPV6_CLIENT, TP_PEER_IPV6, AF_INET, 27, PSEUDO},
	{IPV6_CLIENT, TP_PEER_IPV6, AF_INET, 16, PSEUDO},
	{IPV6_CLIENT, TP_PEER_IPV6, AF_INET, 0, PSEUDO},
	{"203.0.113.7", TP_PEER_PLAIN, AF_UNIX, 110, "203.0.113.7"},
	{IPV6_CLIENT, TP_PEER_PLAIN, AF_UNIX, 16, IPV6_CLIENT},
	/* The hash of this one would be the broadcast address. */
	{"2001:db8::358:70c0", TP_PEER_PLAIN, AF_INET, 16, "255.255.255.254"},
};

START_TEST(a_client_is_reported_in_the_sockets_terms)
{
	struct tp_peer peer = {.report = reports[_i].report};
	const char *text = reports[_i].client;
	ck_assert(tp_addr_parse(text, strlen(text), AF_INET, &peer.client) ||
		  tp_addr_parse(text, strlen(text), AF_INET6, &peer.client));
	peer.client.port = 56324;
	union tp_sockaddr kernel;
	socklen_t len = tp_peer_to_kernel(&peer, reports[_i].socket_family,
					  reports[_i].room, &kernel);
	char host[INET6_ADDRSTRLEN];
	bool ipv6 = strchr(reports[_i].expected, ':');
	ck_assert_uint_eq(len, ipv6 ? sizeof kernel.in6 : sizeof kernel.in);
	ck_assert_int_eq(kernel.any.sa_family, ipv6 ? AF_INET6 : AF_INET);
	ck_assert_uint_eq(ntohs(ipv6 ? kernel.in6.sin6_port : kernel.in.sin_port), 56324);
	inet_ntop(kernel.any.sa_family,
		  ipv6 ? (void *)&kernel.in6.sin6_addr : (void *)&kernel.in.sin_addr,
		  host, sizeof host);
	ck_assert_str_eq(host, reports[_i].expected);
}
END_TEST

static const struct {
	struct tp_peer peer;
	sa_family_t socket_family;
	socklen_t room, len; /* 0: as the kernel has it */
	sa_family_t family;
} destinations[] = {
	{{.destination = {AF_INET, 443, {192, 0, 2, 1}}}, AF_INET, 0, 16, AF_INET},
	{{.destination = {AF_INET, 443, {192, 0, 2, 1}}}, AF_INET6, 0, 28, AF_INET6},
	{{.destination = {AF_INET, 443, {192, 0, 2, 1}}}, AF_UNIX, 0, 16, AF_INET},
	{{.destination = {AF_INET6, 443, {0x20, 1}}}, AF_INET6, 0, 28, AF_INET6},
	{{.destination = {AF_INET6, 443, {0x20, 1}}}, AF_UNIX, 0, 28, AF_INET6},
	{{.destination = {AF_INET6, 443, {0x20, 1}}}, AF_INET, 128, 0, 0},
	{{.destination = {AF_INET6, 443, {0x20, 1}}, .report = TP_PEER_IPV6},
	 AF_INET,
	 28,
	 28,
	 AF_INET6},
	{{.destination = {AF_INET6, 443, {0x20, 1}}, .report = TP_PEER_IPV6},
	 AF_INET,
	 27,
	 0,
	 0},
	{{.client = {AF_INET, 1, {1}}}, AF_INET, 128, 0, 0},
};

START_TEST(a_destination_is_reported_where_it_is_understood)
{
	union tp_sockaddr kernel = {.any.sa_family = 4711};
	socklen_t len = tp_peer_destination_to_kernel(&destinations[_i].peer,
						      destinations[_i].socket_family,
						      destinations[_i].room, &kernel);
	ck_assert_uint_eq(len, destinations[_i].len);
	ck_assert_int_eq(kernel.any.sa_family, len ? destinations[_i].family : 4711);
}
END_TEST

static uint32_t number(const struct tp_addr *ipv4)
{
	uint32_t value;
	memcpy(&value, ipv4->ip, sizeof value);
	return ntohl(value);
}

START_TEST(a_pseudo_address_is_in_class_e)
{
	for (int i = 0; i < 100000; i++) {
		struct tp_addr ipv6 = {.family = AF_INET6, .port = (uint16_t)draw()};
		draw_bytes(ipv6.ip, sizeof ipv6.ip);
		struct tp_addr pseudo = tp_peer_pseudo(&ipv6),
			       again = tp_peer_pseudo(&ipv6);
		ck_assert(same_addr(&pseudo, &again));
		ck_assert_int_eq(pseudo.family, AF_INET);
		ck_assert_uint_eq(pseudo.port, ipv6.port);
		ck_assert_uint_eq(number(&pseudo) >> 28, 15);
		ck_assert_uint_ne(number(&pseudo), UINT32_MAX);
	}
}
END_TEST

static int compare_numbers(const void *left, const void *right)
{
	const uint32_t *a = left, *b = right;
	return (*a > *b) - (*a < *b);
}

START_TEST(pseudo_addresses_of_neighbours_differ)
{
	static uint32_t numbers[10000];
	int same = 0;
	for (size_t i = 0; i < COUNT(numbers); i++) {
		struct tp_addr ipv6 = {AF_INET6, 0, {0x20, 0x01, 0x0d, 0xb8}};
		ipv6.ip[14] = (uint8_t)(i >> 8);
		ipv6.ip[15] = (uint8_t)i;
		struct tp_addr pseudo = tp_peer_pseudo(&ipv6);
		numbers[i] = number(&pseudo);
	}
	qsort(numbers, COUNT(numbers), sizeof *numbers, compare_numbers);
	for (size_t i = 1; i < COUNT(numbers); i++)
		same += numbers[i] == numbers[i - 1];
	ck_assert_int_le(same, 3);
}
END_TEST

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], AFTER_EXEC))
		return holds(STDIN_FILENO, &ipv4_peer) ? EXIT_SUCCESS : EXIT_FAILURE;
	TCase *tcase = tcase_create("peer");
	tcase_add_table(tcase, the_socket_remembers, cases);
	tcase_add_test(tcase, the_last_one_put_counts);
	tcase_add_table(tcase, it_survives_dup, cases);
	tcase_add_table(tcase, it_survives_fork, cases);
	tcase_add_test(tcase, it_survives_exec);
	tcase_add_table(tcase, it_survives_passing_the_descriptor, cases);
	tcase_add_table(tcase, it_survives_a_reset, cases);
	tcase_add_test(tcase, it_can_be_put_after_a_reset);
	tcase_add_test(tcase, it_changes_nothing_for_the_data);
	tcase_add_test(tcase, a_listeners_fast_open_key_is_not_a_record);
	tcase_add_test(tcase, a_record_on_a_listener_is_not_its_connections);
	tcase_add_test(tcase, the_programs_own_key_is_not_a_record);
	tcase_add_test(tcase, what_is_no_socket_holds_nothing);
	tcase_add_test(tcase, errno_is_kept);
	tcase_add_table(tcase, a_socket_without_the_slot_is_kept_in_the_table, cases);
	tcase_add_test(tcase, a_record_of_another_version_is_known_but_not_read);
	tcase_add_test(tcase,
		       an_ipv6_destination_is_kept_in_the_table_if_it_is_to_be_told);
	tcase_add_test(tcase, an_ipv4_destination_that_is_to_be_told_is_on_the_socket);
	tcase_add_test(tcase, an_mptcp_socket_is_kept_somewhere);
	tcase_add_table(tcase, a_client_is_reported_in_the_sockets_terms, reports);
	tcase_add_table(tcase, a_destination_is_reported_where_it_is_understood,
			destinations);
	tcase_add_test(tcase, a_pseudo_address_is_in_class_e);
	tcase_add_test(tcase, pseudo_addresses_of_neighbours_differ);
	return run_tests("peer", tcase);
}
