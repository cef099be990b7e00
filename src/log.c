/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "real.h"

#define BURST 20	    /* lines at once */
#define HIGH_DESCRIPTOR 200 /* our descriptors stay out of the way of the program's */

/* Which file a descriptor stands for, to notice when the program has reused its number.
 */
struct identity {
	dev_t device;
	ino_t inode;
	mode_t type;
};

static struct {
	_Atomic enum tp_log_target target; /* set last: whoever sees it sees the rest */
	enum tp_log_level level;
	struct identity standard_error; /* when the log was opened */
	struct identity opened;
	atomic_int fd; /* of our own, or -1 */
} log_state = {.target = TP_LOG_NONE, .level = TP_LOG_WARNING, .fd = -1};
static char log_path[PATH_MAX]; /* with the state: 4 KiB of zeros in the library's file */

/* Lines still allowed, and when one more was last granted, in seconds. */
static atomic_int tokens = BURST;
static atomic_long granted_at;
static atomic_uint left_out;

static bool identify(int fd, struct identity *identity)
{
	struct stat st;
	if (fstat(fd, &st))
		return false;
	*identity = (struct identity){st.st_dev, st.st_ino, st.st_mode & S_IFMT};
	return true;
}

static bool is_still(int fd, const struct identity *before)
{
	struct identity now;
	return identify(fd, &now) && now.device == before->device &&
	       now.inode == before->inode && now.type == before->type;
}

static bool connect_syslog(int fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
	return !connect(fd, (struct sockaddr *)&address, sizeof address);
}

static int open_syslog(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect_syslog(fd)) {
		tp_real()->close(fd);
		fd = -1;
	}
	return fd;
}

/* O_NONBLOCK: a FIFO that nobody reads must not hold the program up. */
static int open_file(void)
{
	return open(log_path,
		    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		    0640);
}

/* Opens the target under a number that the program is unlikely to want for itself. */
static bool open_target(enum tp_log_target target)
{
	int low = target == TP_LOG_SYSLOG ? open_syslog() : open_file();
	if (low < 0)
		return false;
	int fd = fcntl(low, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR);
	if (fd >= 0)
		tp_real()->close(low);
	else
		fd = low;
	if (!identify(fd, &log_state.opened)) {
		tp_real()->close(fd);
		return false;
	}
	atomic_store(&log_state.fd, fd);
	return true;
}

void tp_log_open(const struct tp_log_settings *settings)
{
	int saved = errno;
	log_state.level = settings->level;
	if (!identify(STDERR_FILENO, &log_state.standard_error))
		log_state.standard_error.type = S_IFSOCK;
	bool too_long = settings->path.len >= sizeof log_path;
	if (settings->target == TP_LOG_FILE && !too_long)
		memcpy(log_path, settings->path.text, settings->path.len);
	bool own = settings->target == TP_LOG_FILE || settings->target == TP_LOG_SYSLOG;
	bool failed = own && (too_long || !open_target(settings->target));
	atomic_store(&log_state.target, failed ? TP_LOG_STDERR : settings->target);
	if (failed) {
		struct tp_text text = {0};
		tp_text_put(&text, "TRUEPEER_LOG: cannot open ");
		if (settings->target == TP_LOG_FILE)
			tp_text_put_quoted(&text, settings->path.text,
					   settings->path.len);
		else
			tp_text_put(&text, "/dev/log");
		tp_text_put(&text, "; logging to standard error");
		tp_log(TP_LOG_WARNING, &text);
	}
	errno = saved;
}

bool tp_log_wants(enum tp_log_level level)
{
	return log_state.target != TP_LOG_NONE && level <= log_state.level;
}

/*
 * Standard error is used while it is a terminal or a pipe, or the very file or socket it
 * was at the start: daemons close it, and the next connection may then be number 2.
 */
static bool standard_error_is_safe(void)
{
	struct identity now;
	if (!identify(STDERR_FILENO, &now))
		return false;
	return now.type == S_IFCHR || now.type == S_IFIFO ||
	       (is_still(STDERR_FILENO, &log_state.standard_error) &&
		(now.type == S_IFREG || now.type == S_IFSOCK));
}

/* An internet socket as standard error is somebody's connection (inetd). */
static bool is_internet_socket(int fd)
{
	int domain;
	socklen_t len = sizeof domain;
	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	       (domain == AF_INET || domain == AF_INET6);
}

/* The descriptor to write to, or -1. */
static int descriptor(enum tp_log_target target)
{
	if (target == TP_LOG_STDERR)
		return standard_error_is_safe() && !is_internet_socket(STDERR_FILENO)
			       ? STDERR_FILENO
			       : -1;
	int fd = atomic_load(&log_state.fd);
	errno = 0;
	if (fd >= 0 && is_still(fd, &log_state.opened))
		return fd;
	if (fd >= 0 && errno && errno != EBADF)
		return -1; /* it may still be ours */
	return open_target(target) ? atomic_load(&log_state.fd) : -1;
}

static void put_prefix(struct tp_text *line, enum tp_log_target target,
		       enum tp_log_level level)
{
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO};
	if (target == TP_LOG_SYSLOG) {
		tp_text_put(line, "<");
		tp_text_put_number(line, (unsigned)(LOG_DAEMON | priorities[level]));
		tp_text_put(line, ">");
		tp_text_put(line, program_invocation_short_name);
		tp_text_put(line, "[");
		tp_text_put_number(line, (uint64_t)getpid());
		tp_text_put(line, "]: truepeer: ");
		return;
	}
	tp_text_put(line, "truepeer[");
	tp_text_put_number(line, (uint64_t)getpid());
	tp_text_put(line, "]: ");
}

/* Whether one line can be taken now, without a wait and without SIGPIPE. */
static bool takes_a_line(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
	return tp_real()->poll(&pollfd, 1, 0) == 1 && pollfd.revents == POLLOUT;
}

static void write_line(enum tp_log_target target, enum tp_log_level level,
		       const struct tp_text *text)
{
	struct tp_text prefix = {0};
	int fd = descriptor(target);
	if (fd < 0 || !takes_a_line(fd))
		return;
	put_prefix(&prefix, target, level);
	struct iovec parts[] = {
		{prefix.text, prefix.len},
		{(char *)text->text, text->len},
		{"\n", target == TP_LOG_SYSLOG ? 0 : 1},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
	const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
	ssize_t n = sendmsg(fd, &message, flags);
	if (n < 0 && errno == ENOTSOCK)
		n = writev(fd, parts, 3);
	/* The system log was started anew. */
	else if (n < 0 && errno != EAGAIN && target == TP_LOG_SYSLOG &&
		 connect_syslog(fd))
		n = sendmsg(fd, &message, flags);
	(void)n; /* a log that cannot be written to has nobody to tell */
}

/* One more token for each second that has gone by since the last one. */
static void refill(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	long before = atomic_load(&granted_at);
	if (now.tv_sec <= before ||
	    !atomic_compare_exchange_strong(&granted_at, &before, (long)now.tv_sec))
		return;
	long missing = BURST - atomic_load(&tokens);
	long grant = now.tv_sec - before;
	atomic_fetch_add(&tokens, (int)(grant < missing ? grant : missing));
}

static bool take_token(void)
{
	refill();
	int n = atomic_load(&tokens);
	while (n > 0)
		if (atomic_compare_exchange_weak(&tokens, &n, n - 1))
			return true;
	atomic_fetch_add(&left_out, 1);
	return false;
}

void tp_log(enum tp_log_level level, const struct tp_text *text)
{
	int saved = errno;
	if (tp_log_wants(level) && (level != TP_LOG_WARNING || take_token())) {
		struct tp_text line = *text;
		unsigned missing = atomic_exchange(&left_out, 0);
		if (missing) {
			tp_text_put(&line, " (");
			tp_text_put_number(&line, missing);
			tp_text_put(&line, " lines before this one left out)");
		}
		write_line(log_state.target, level, &line);
	}
	errno = saved;
}

void tp_log_mistake(const struct tp_text *text)
{
	int saved = errno;
	bool silent = log_state.target == TP_LOG_NONE;
	write_line(silent ? TP_LOG_STDERR : log_state.target, TP_LOG_ERROR, text);
	errno = saved;
}
