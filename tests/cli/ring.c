/* SPDX-License-Identifier: MIT */
/* A server that accepts through io_uring, and so past every preloaded library. */
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int listen_somewhere(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	if (bind(fd, (struct sockaddr *)&at, len) || listen(fd, 16) || getsockname(fd, (struct sockaddr *)&at, &len))
		return -1;
	printf("listening %d\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

int main(void)
{
	struct io_uring_params params = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (ring < 0) {
		puts("no io_uring");
		return 77;
	}
	int listener = listen_somewhere();
	char *queue = mmap(NULL, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
			   IORING_OFF_SQ_RING);
	char *done = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
			  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *entries = mmap(NULL, params.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE,
					    MAP_SHARED, ring, IORING_OFF_SQES);
	unsigned *tail = (void *)(queue + params.sq_off.tail), *array = (void *)(queue + params.sq_off.array);
	for (;;) {
		memset(entries, 0, sizeof *entries);
		entries->opcode = IORING_OP_ACCEPT;
		entries->fd = listener;
		array[*tail & (params.sq_entries - 1)] = 0;
		__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
		if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			return 1;
		unsigned *head = (void *)(done + params.cq_off.head);
		struct io_uring_cqe *completions = (void *)(done + params.cq_off.cqes);
		int client = completions[*head & (params.cq_entries - 1)].res;
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
		if (client >= 0 && write(client, "hello\n", 6) != 6)
			return 1;
	}
}
