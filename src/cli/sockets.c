/* SPDX-License-Identifier: MIT */
#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ESTABLISHED = 1, LISTEN = 10 }; /* the kernel's include/net/tcp_states.h */

static int enter_namespace(pid_t pid)
{
	struct stat own, other;
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	if (stat("/proc/self/ns/net", &own) || stat(path, &other))
		return errno;
	if (own.st_ino == other.st_ino && own.st_dev == other.st_dev)
		return 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 || setns(fd, CLONE_NEWNET) ? errno : 0;
	if (fd >= 0)
		close(fd);
	return error;
}

static bool ask(int fd, uint8_t family)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 request;
	} message = {
		{sizeof message, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 0, 0},
		{family,
		 IPPROTO_TCP,
		 1 << (INET_DIAG_INFO - 1),
		 0,
		 1 << ESTABLISHED | 1 << LISTEN,
		 {0}}};
	return send(fd, &message, sizeof message, 0) == sizeof message;
}

static struct tp_addr read_addr(uint8_t family, const uint32_t ip[4], uint16_t port)
{
	struct tp_addr addr = {.family = family, .port = ntohs(port)};
	memcpy(addr.ip, ip, tp_addr_size(family));
	return tp_addr_unmap(addr);
}

static void read_info(const struct rtattr *attribute, size_t left,
		      struct tp_socket *socket)
{
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		struct tcp_info info = {0};
		size_t size = RTA_PAYLOAD(attribute);
		if (attribute->rta_type != INET_DIAG_INFO)
			continue;
		memcpy(&info, RTA_DATA(attribute),
		       size < sizeof info ? size : sizeof info);
		socket->received = info.tcpi_bytes_received;
		socket->silent_ms = info.tcpi_last_data_recv;
	}
}

static bool add(struct tp_sockets *sockets, const struct nlmsghdr *head)
{
	const struct inet_diag_msg *message = NLMSG_DATA(head);
	struct tp_socket *more =
		realloc(sockets->list, (sockets->count + 1) * sizeof *more);
	if (!more)
		return false;
	sockets->list = more;
	struct tp_socket *socket = &more[sockets->count++];
	*socket = (struct tp_socket){
		.local = read_addr(message->idiag_family, message->id.idiag_src,
				   message->id.idiag_sport),
		.remote = read_addr(message->idiag_family, message->id.idiag_dst,
				    message->id.idiag_dport),
		.inode = message->idiag_inode,
		.listening = message->idiag_state == LISTEN,
	};
	read_info((const void *)(message + 1),
		  head->nlmsg_len - NLMSG_LENGTH(sizeof *message), socket);
	return true;
}

/* 0 at the end of a dump, else an errno. */
static int take(int fd, struct tp_sockets *sockets)
{
	_Alignas(struct nlmsghdr) static char buffer[65536];
	for (;;) {
		ssize_t n = recv(fd, buffer, sizeof buffer, 0);
		if (n < 0)
			return errno;
		size_t left = (size_t)n;
		for (const struct nlmsghdr *head = (const void *)buffer;
		     NLMSG_OK(head, left); head = NLMSG_NEXT(head, left)) {
			if (head->nlmsg_type == NLMSG_DONE)
				return 0;
			if (head->nlmsg_type == NLMSG_ERROR)
				return -((const struct nlmsgerr *)NLMSG_DATA(head))
						->error;
			if (!add(sockets, head))
				return ENOMEM;
		}
	}
}

int tp_sockets_list(pid_t pid, struct tp_sockets *sockets)
{
	*sockets = (struct tp_sockets){0};
	int error = pid ? enter_namespace(pid) : 0;
	int fd = error ? -1
		       : socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (!error && fd < 0)
		error = errno;
	for (int i = 0; !error && i < 2; i++)
		error = ask(fd, i ? AF_INET6 : AF_INET) ? take(fd, sockets) : errno;
	if (fd >= 0)
		close(fd);
	return error;
}
