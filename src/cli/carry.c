/* SPDX-License-Identifier: MIT */
#include "carry.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli.h"

/* One direction. */
struct flow {
	uint8_t bytes[65536];
	size_t at, len; /* what was read and not yet written is bytes[at..len) */
	bool ended;	/* nothing more will be read */
};

struct session {
	const char *name;
	int socket;
	struct flow up, down; /* to the connection, from it */
	bool finished;
	int status;
};

static void fail(struct session *session, const char *what)
{
	tp_cli_wrong(session->name, what, strerror(errno));
	session->status = TP_CLI_NO;
}

static bool is_pending(const struct flow *flow)
{
	return flow->at < flow->len;
}

static bool is_passing(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static void end_up(struct session *session)
{
	session->up.ended = true;
	session->up.at = session->up.len = 0;
	shutdown(session->socket, SHUT_WR);
}

static void read_input(struct session *session)
{
	struct flow *up = &session->up;
	ssize_t n = read(STDIN_FILENO, up->bytes, sizeof up->bytes);
	if (n < 0 && is_passing())
		return;
	if (n < 0)
		fail(session, "standard input");
	up->at = 0;
	up->len = n > 0 ? (size_t)n : 0;
	if (n <= 0)
		end_up(session);
}

static void write_socket(struct session *session)
{
	struct flow *up = &session->up;
	ssize_t n = send(session->socket, up->bytes + up->at, up->len - up->at,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		up->at += (size_t)n;
	if (n >= 0 || is_passing())
		return;
	/* What the other end had sent before is still to be read. */
	fail(session, "the connection");
	end_up(session);
}

static void read_socket(struct session *session)
{
	struct flow *down = &session->down;
	ssize_t n = recv(session->socket, down->bytes, sizeof down->bytes, MSG_DONTWAIT);
	if (n < 0 && is_passing())
		return;
	/* The same reset may have been told by write_socket. */
	if (n < 0 && session->status == TP_CLI_YES)
		fail(session, "the connection");
	down->at = 0;
	down->len = n > 0 ? (size_t)n : 0;
	down->ended = n <= 0;
	if (n < 0 || (!n && isatty(STDIN_FILENO)))
		session->finished = true;
}

/* No more than a pipe that is ready takes without blocking. */
static void write_output(struct session *session)
{
	struct flow *down = &session->down;
	size_t left = down->len - down->at;
	ssize_t n = write(STDOUT_FILENO, down->bytes + down->at,
			  left < PIPE_BUF ? left : PIPE_BUF);
	if (n > 0)
		down->at += (size_t)n;
	if (n >= 0 || is_passing())
		return;
	fail(session, "standard output");
	session->finished = true;
}

enum { INPUT, OUTPUT, SOCKET, PLACES };

/* What to wait for: room and bytes only where there is use for them, so that nothing that
 * is ready all the time keeps us busy. */
static void choose(const struct session *session, struct pollfd places[PLACES])
{
	bool up = is_pending(&session->up), down = is_pending(&session->down);
	bool reads = !session->down.ended && !down;
	places[INPUT] = (struct pollfd){STDIN_FILENO, POLLIN, 0};
	if (session->up.ended || up)
		places[INPUT].fd = -1;
	places[OUTPUT] = (struct pollfd){down ? STDOUT_FILENO : -1, POLLOUT, 0};
	places[SOCKET] = (struct pollfd){session->socket, 0, 0};
	if (reads)
		places[SOCKET].events = POLLIN;
	if (up)
		places[SOCKET].events |= POLLOUT;
	/* After its end the connection may still be reset: that is told unasked. */
	if (!places[SOCKET].events && down)
		places[SOCKET].fd = -1;
}

static void step(struct session *session, const struct pollfd places[PLACES])
{
	if (places[OUTPUT].revents)
		write_output(session);
	if (places[INPUT].revents)
		read_input(session);
	if (places[SOCKET].revents && is_pending(&session->up))
		write_socket(session);
	if (places[SOCKET].revents & ~POLLOUT && !session->down.ended &&
	    !is_pending(&session->down))
		read_socket(session);
	else if (places[SOCKET].revents & (POLLERR | POLLHUP) && session->down.ended)
		session->finished = true;
}

int tp_carry(const char *name, int socket)
{
	static struct session session;
	struct pollfd places[PLACES];
	session.name = name;
	session.socket = socket;
	while (!session.finished &&
	       !(session.up.ended && session.down.ended && !is_pending(&session.down))) {
		choose(&session, places);
		if (poll(places, PLACES, -1) > 0)
			step(&session, places);
	}
	return session.status;
}
