/* SPDX-License-Identifier: MIT */
/* truepeer send: a client that sends a header first. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "carry.h"
#include "cli.h"
#include "endpoint.h"
#include "header.h"
#include "tlv_option.h"

static const char usage[] =
	"Usage: truepeer send [OPTION]... HOST PORT\n"
	"Connects, sends a PROXY header, then carries standard input and output.\n\n"
	"      --v1, --v2      the header's version; 2 unless told otherwise\n"
	"      --src A:P       the client's address: 192.0.2.1:25, [2001:db8::1]:25 or,\n"
	"                      with --v2, unix:PATH; unless given, the connection's\n"
	"      --dst A:P       where the client connected to, likewise\n"
	"      --local         LOCAL: the sender speaks for itself (--v2)\n"
	"      --unknown       a client whose address is not known\n"
	"      --dgram         the client's transport is datagrams (--v2)\n"
	"      --tlv TYPE=VALUE  adds a TLV; TYPE is authority, alpn, unique-id, netns,\n"
	"                      ssl-version, ssl-cn, aws-vpce-id, ... or a number; VALUE\n"
	"                      is text, or hex:DIGITS\n"
	"      --crc32c        adds the checksum\n"
	"      --split N       sends the header in pieces of N bytes\n"
	"      --delay MS      milliseconds between the pieces; 10 unless told "
	"otherwise\n"
	"  -h, --help          this text\n\n"
	"Exit status: 0 the connection ended well, 1 it did not, 2 wrong usage.\n";

struct request {
	const char *name; /* what messages are told under */
	struct tp_header header;
	bool bare; /* --local or --unknown: without addresses and TLVs */
	uint8_t paths[TP_UNIX_PATHS];
	struct tp_tlv_options tlvs;
	size_t split;
	long delay_ms; /* -1: not given */
	const char *host, *port;
};

/* ---- options ---- */

enum { V1 = 256, V2, SRC, DST, LOCAL, UNKNOWN, DGRAM, TLV, CRC32C, SPLIT, DELAY };

static const struct option longs[] = {{"v1", no_argument, NULL, V1},
				      {"v2", no_argument, NULL, V2},
				      {"src", required_argument, NULL, SRC},
				      {"dst", required_argument, NULL, DST},
				      {"local", no_argument, NULL, LOCAL},
				      {"unknown", no_argument, NULL, UNKNOWN},
				      {"dgram", no_argument, NULL, DGRAM},
				      {"tlv", required_argument, NULL, TLV},
				      {"crc32c", no_argument, NULL, CRC32C},
				      {"split", required_argument, NULL, SPLIT},
				      {"delay", required_argument, NULL, DELAY},
				      {"help", no_argument, NULL, 'h'},
				      {0}};

/* Returns -1, or the exit status, as all below do. */
static int read_path(struct request *request, uint8_t *path, const char *text)
{
	size_t len;
	const char *wrong =
		tp_value_parse(text + strlen("unix:"), path, TP_UNIX_PATHS / 2, &len);
	request->header.unix_paths = request->paths;
	return wrong ? tp_cli_wrong(request->name, text,
				    "not a path of at most 108 bytes")
		     : -1;
}

static int read_side(struct request *request, const char *text, bool dst)
{
	struct tp_header *header = &request->header;
	if (!strncmp(text, "unix:", strlen("unix:")))
		return read_path(request, request->paths + dst * TP_UNIX_PATHS / 2, text);
	if (tp_endpoint_parse(text, dst ? &header->dst : &header->src))
		return -1;
	return tp_cli_wrong(
		request->name, text,
		"expected ADDRESS:PORT, such as 192.0.2.1:25 or [2001:db8::1]:25");
}

static int read_version(struct request *request, uint8_t version)
{
	struct tp_header *header = &request->header;
	if (header->version && header->version != version)
		return tp_cli_wrong(request->name, NULL, "--v1 and --v2 together");
	header->version = version;
	return -1;
}

static int read_bare(struct request *request, enum tp_command command)
{
	struct tp_header *header = &request->header;
	if (request->bare && header->command != command)
		return tp_cli_wrong(request->name, NULL,
				    "--local and --unknown together");
	header->command = command;
	request->bare = true;
	return -1;
}

static int read_amount(struct request *request, const char *text, bool delay)
{
	unsigned long number;
	if (!tp_number_parse(text, delay ? 3600000 : TP_HEADER_V2_MAX, &number) ||
	    (!delay && !number))
		return tp_cli_wrong(
			request->name, text,
			delay ? "expected milliseconds, up to 3600000"
			      : "expected a number of bytes, from 1 to 65551");
	if (delay)
		request->delay_ms = (long)number;
	else
		request->split = number;
	return -1;
}

static int read_option(struct request *request, int option)
{
	const char *wrong;
	switch (option) {
	case V1:
	case V2:
		return read_version(request, option == V1 ? 1 : 2);
	case SRC:
	case DST:
		return read_side(request, optarg, option == DST);
	case LOCAL:
	case UNKNOWN:
		return read_bare(request, option == LOCAL ? TP_LOCAL : TP_UNKNOWN);
	case DGRAM:
		request->header.transport = TP_TRANSPORT_DGRAM;
		return -1;
	case TLV:
		wrong = tp_tlv_option_add(&request->tlvs, optarg);
		return wrong ? tp_cli_wrong(request->name, optarg, wrong) : -1;
	case CRC32C:
		request->header.crc32c = true;
		return -1;
	case SPLIT:
	case DELAY:
		return read_amount(request, optarg, option == DELAY);
	case 'h':
		return tp_cli_help(usage);
	default:
		return TP_CLI_USAGE;
	}
}

/* What does not go together, whatever the order of the options. */
static const char *find_conflict(const struct request *request)
{
	const struct tp_header *header = &request->header;
	bool addresses = header->src.family || header->dst.family || header->unix_paths;
	bool fields = request->tlvs.tlvs.len || request->tlvs.ssl.len || header->crc32c;
	bool dgram = header->transport == TP_TRANSPORT_DGRAM;
	if (request->bare && (addresses || dgram))
		return "--local and --unknown go without addresses";
	if (request->bare && fields)
		return "--local and --unknown go without TLVs and checksum";
	if (header->version == 1 && request->bare && header->command == TP_LOCAL)
		return "version 1 has no LOCAL; see --unknown";
	if (header->version == 1 && fields)
		return "version 1 has no TLVs and no checksum";
	if (header->version == 1 && (header->unix_paths || dgram))
		return "version 1 knows TCP over IPv4 and IPv6 alone";
	if (header->unix_paths && (header->src.family || header->dst.family))
		return "--src and --dst are of two families";
	if (header->src.family && header->dst.family &&
	    header->src.family != header->dst.family)
		return "--src and --dst are of two families";
	if (request->delay_ms >= 0 && !request->split)
		return "--delay goes with --split";
	return NULL;
}

static int read_options(int argc, char **argv, struct request *request)
{
	int status = -1;
	for (int c; status < 0 && (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;)
		status = read_option(request, c);
	if (status >= 0)
		return status;
	if (argc - optind > 2)
		return tp_cli_wrong(request->name, argv[optind + 2],
				    "nothing is expected behind HOST and PORT");
	if (argc - optind < 2)
		return tp_cli_wrong(request->name, NULL, "expected HOST and PORT");
	request->host = argv[optind];
	request->port = argv[optind + 1];
	/* getaddrinfo takes 65537 for 1. */
	unsigned long port;
	if (!request->port[strspn(request->port, "0123456789")] &&
	    (!tp_number_parse(request->port, 65535, &port) || !port))
		return tp_cli_wrong(request->name, request->port,
				    "expected a port from 1 to 65535");
	if (!request->header.version)
		request->header.version = 2;
	const char *wrong = find_conflict(request);
	if (!wrong)
		wrong = tp_tlv_options_finish(&request->tlvs);
	return wrong ? tp_cli_wrong(request->name, NULL, wrong) : -1;
}

/* ---- the header ---- */

/* The addresses that were not given are the connection's. */
static const char *complete_addresses(struct tp_header *header, int fd)
{
	union tp_sockaddr own, other;
	socklen_t own_len = sizeof own, other_len = sizeof other;
	if (header->unix_paths) {
		header->family = AF_UNIX;
		return NULL;
	}
	if (getsockname(fd, &own.any, &own_len) ||
	    getpeername(fd, &other.any, &other_len))
		return strerror(errno);
	if (!header->src.family)
		header->src = tp_addr_from_kernel(&own);
	if (!header->dst.family)
		header->dst = tp_addr_from_kernel(&other);
	header->family = header->src.family;
	return header->src.family == header->dst.family
		       ? NULL
		       : "the connection is of another family than the address: give "
			 "both --src and --dst";
}

/* `unknown` in version 2 is a client of no family (section 2.2). */
static void complete_command(struct request *request)
{
	struct tp_header *header = &request->header;
	if (!request->bare && !header->transport)
		header->transport = TP_TRANSPORT_STREAM;
	if (!request->bare || (header->version == 2 && header->command == TP_UNKNOWN))
		header->command = TP_PROXY;
}

static int make_header(struct request *request, int fd, uint8_t *bytes, size_t *len)
{
	struct tp_header *header = &request->header;
	const char *wrong = request->bare ? NULL : complete_addresses(header, fd);
	complete_command(request);
	header->tlvs = request->tlvs.tlvs.bytes;
	header->tlvs_length = request->tlvs.tlvs.len;
	*len = tp_header_write(header, bytes, TP_HEADER_V2_MAX);
	if (!wrong && !*len)
		wrong = "the header would be longer than 65551 bytes";
	return wrong ? tp_cli_wrong(request->name, NULL, wrong) : -1;
}

/* ---- the connection ---- */

/* Descriptors 0 to 2 are there, so that no socket gets their numbers. */
static void fill_standard_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close(fd);
}

/* The first address that answers; -1 and errno. */
static int connect_any(const struct addrinfo *at)
{
	for (; at; at = at->ai_next) {
		int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC,
				at->ai_protocol);
		if (fd >= 0 && !connect(fd, at->ai_addr, at->ai_addrlen))
			return fd;
		int saved = errno;
		close(fd);
		errno = saved;
	}
	return -1;
}

static int open_connection(const struct request *request)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found;
	char host[NI_MAXHOST];
	size_t len = strlen(request->host);
	bool brackets =
		len >= 2 && request->host[0] == '[' && request->host[len - 1] == ']';
	snprintf(host, sizeof host, "%.*s", (int)(len - 2 * brackets),
		 request->host + brackets);
	int error = getaddrinfo(host, request->port, &hints, &found);
	if (error) {
		tp_cli_wrong(request->name,
			     error == EAI_SERVICE ? request->port : request->host,
			     gai_strerror(error));
		return -1;
	}
	int fd = connect_any(found);
	if (fd < 0)
		tp_cli_wrong(request->name, request->host, strerror(errno));
	freeaddrinfo(found);
	return fd;
}

static bool send_piece(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return false;
		bytes += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

static bool send_header(const struct request *request, int fd, const uint8_t *bytes,
			size_t len)
{
	long ms = request->delay_ms < 0 ? 10 : request->delay_ms;
	const struct timespec delay = {ms / 1000, ms % 1000 * 1000000};
	size_t piece = request->split ? request->split : len;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	for (size_t at = 0; at < len; at += piece) {
		if (at)
			nanosleep(&delay, NULL);
		if (!send_piece(fd, bytes + at, len - at < piece ? len - at : piece))
			return false;
	}
	return true;
}

int tp_cli_send(int argc, char **argv)
{
	static struct request request;
	static uint8_t bytes[TP_HEADER_V2_MAX];
	size_t len;
	request.name = argv[0];
	request.delay_ms = -1;
	int status = read_options(argc, argv, &request);
	if (status >= 0)
		return status;
	fill_standard_descriptors();
	signal(SIGPIPE, SIG_IGN); /* write says EPIPE instead */
	int fd = open_connection(&request);
	if (fd < 0)
		return TP_CLI_NO;
	status = make_header(&request, fd, bytes, &len);
	if (status < 0 && !send_header(&request, fd, bytes, len)) {
		tp_cli_wrong(argv[0], request.host, strerror(errno));
		status = TP_CLI_NO;
	}
	if (status < 0)
		status = tp_carry(argv[0], fd);
	close(fd);
	return status;
}
