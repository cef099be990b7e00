/* SPDX-License-Identifier: MIT */
/*
 * Clients as a server on the internet has them, many at a time, for tests/soak/soak.
 *
 *   clients PORT COUNT AT_ONCE TIMEOUT_MS SEED
 *
 * The server on 127.0.0.1 and ::1 tells each of them what it knows of it: the last line
 * it sends is "ADDRESS PORT LINE", with the client's first line. It trusts TRUSTED4 and
 * TRUSTED6, and gives a header TIMEOUT_MS to arrive.
 *
 * What a client is and does depends on SEED and its number alone; its header names an
 * address that no other has. Prints a line for each kind, and what was not as it must be
 * to standard error; the exit status is 0 if there was none of that.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Where they come from; the rest of the address is anything. */
#define TRUSTED4 0x7f010000u  /* 127.1.0.0/16 */
#define STRANGER4 0x7f020000u /* 127.2.0.0/16 */
#define TRUSTED6 1	      /* 2001:db8:1::/64 */
#define STRANGER6 2	      /* 2001:db8:2::/64 */
#define CLAIMED6 3	      /* what headers claim: 2001:db8:3::/64 */

#define PATIENCE_MS 30000 /* whoever waits longer is stuck */
#define EARLY_MS 50	  /* the clocks of client and server */
#define LATE_MS 2000	  /* a reset is that late on a busy machine */
#define LATER_MS 20	  /* at most between two pieces */
#define PIECES 6
#define ENOUGH 20	/* that were wrong: no more come */
#define MILESTONE 50000 /* connections, from one to the next */

enum header { NO_HEADER, ANY_HEADER, V1_HEADER, LOCAL_HEADER, BROKEN_HEADER };
enum manner { WHOLE, SPLIT, CUT }; /* how what it says is sent; CUT: not all of it */
enum ending { TOLD, REFUSED, EXPIRED, LEAVES }; /* what comes of it */

static const struct kind {
	const char *name;
	unsigned share; /* of 1000; 0: in turn, one a second */
	bool stranger;
	enum header header;
	bool request;
	enum manner manner;
	enum ending ending;
	const char *counted; /* what the library must count it as */
} kinds[] = {
	{"good", 500, false, ANY_HEADER, true, WHOLE, TOLD, "proxied"},
	{"good, in pieces", 180, false, ANY_HEADER, true, SPLIT, TOLD, "proxied"},
	{"stranger", 40, true, NO_HEADER, true, WHOLE, TOLD, "untrusted"},
	{"stranger with a header", 40, true, V1_HEADER, true, WHOLE, TOLD, "untrusted"},
	{"silent", 10, false, NO_HEADER, false, WHOLE, EXPIRED, "rejected silent"},
	{"half a header", 10, false, ANY_HEADER, false, CUT, EXPIRED, "rejected late"},
	{"malformed header", 50, false, BROKEN_HEADER, true, SPLIT, REFUSED,
	 "rejected malformed"},
	{"no header", 30, false, NO_HEADER, true, WHOLE, REFUSED, "rejected no_header"},
	{"reset before its header", 50, false, NO_HEADER, false, WHOLE, LEAVES,
	 "rejected probe"},
	{"reset within its header", 50, false, ANY_HEADER, false, CUT, LEAVES,
	 "rejected cut"},
	{"reset behind its header", 40, false, ANY_HEADER, true, SPLIT, LEAVES,
	 "proxied"},
	{"LOCAL check", 0, false, LOCAL_HEADER, true, WHOLE, TOLD, "local local"},
	{"LOCAL check, reset", 0, false, LOCAL_HEADER, false, WHOLE, LEAVES,
	 "local local"},
};
#define KINDS (sizeof kinds / sizeof *kinds)
#define CHECKS 2 /* the last ones */

static struct tally {
	uint64_t four, six, wrong;
	int64_t fastest, slowest; /* milliseconds */
} tallies[KINDS];

struct name {
	struct in6_addr ip; /* IPv4 as ::ffff:a.b.c.d */
	uint16_t port;
};

struct client {
	int fd; /* -1: nobody */
	const struct kind *kind;
	uint64_t random;
	bool six;
	struct name expected;
	char says[1024], heard[1024];
	char line[128]; /* the first that the server is to see */
	size_t length, sent, got;
	size_t ends[PIECES]; /* of the pieces */
	unsigned pieces, piece;
	bool reset; /* as send was told, and recv will not be */
	int64_t began, due;
};

static struct sockaddr_in server4 = {.sin_family = AF_INET};
static struct sockaddr_in6 server6 = {.sin6_family = AF_INET6};
static uint64_t seed, count, entered, checks;
static int64_t timeout_ms, began;
static int events;
static unsigned present, wrong;

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* splitmix64 */
static uint64_t draw(uint64_t *random)
{
	uint64_t z = *random += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static unsigned below(struct client *client, unsigned bound)
{
	return (unsigned)(draw(&client->random) % bound);
}

/* ---- names ---- */

static struct in6_addr mapped(uint32_t ip)
{
	struct in6_addr address = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
	ip = htonl(ip);
	memcpy(address.s6_addr + 12, &ip, sizeof ip);
	return address;
}

static struct in6_addr in_network(uint8_t network, uint64_t host)
{
	struct in6_addr address = {.s6_addr = {0x20, 0x01, 0x0d, 0xb8, 0, network}};
	memcpy(address.s6_addr + 8, &host, sizeof host);
	return address;
}

/* No two numbers have the same. */
static struct name claimed(struct client *client, uint64_t number, bool six)
{
	uint32_t spread = (uint32_t)number * 0x9e3779b1u & 0x0fffffff;
	return (struct name){
		.ip = six ? in_network(CLAIMED6, number * 0x9e3779b97f4a7c15u)
			  : mapped(0x10000000 | spread),
		.port = (uint16_t)(1 + below(client, 65535)),
	};
}

static bool is_six(const struct name *name)
{
	return !IN6_IS_ADDR_V4MAPPED(&name->ip);
}

static const char *text_of(const struct name *name)
{
	static char text[INET6_ADDRSTRLEN];
	return is_six(name)
		       ? inet_ntop(AF_INET6, &name->ip, text, sizeof text)
		       : inet_ntop(AF_INET, name->ip.s6_addr + 12, text, sizeof text);
}

static struct name own_name(int fd)
{
	struct sockaddr_storage any = {0};
	const struct sockaddr_in *four = (void *)&any;
	const struct sockaddr_in6 *six = (void *)&any;
	socklen_t length = sizeof any;
	if (getsockname(fd, (void *)&any, &length))
		err(2, "getsockname");
	return any.ss_family == AF_INET
		       ? (struct name){mapped(ntohl(four->sin_addr.s_addr)),
				       ntohs(four->sin_port)}
		       : (struct name){six->sin6_addr, ntohs(six->sin6_port)};
}

/* ---- what a client says ---- */

static void say(struct client *client, const void *bytes, size_t length)
{
	memcpy(client->says + client->length, bytes, length);
	client->length += length;
}

static void say_v1(struct client *client, const struct name *name)
{
	bool six = is_six(name);
	client->length += (size_t)sprintf(client->says + client->length,
					  "PROXY TCP%c %s %s %u 443\r\n", six ? '6' : '4',
					  text_of(name),
					  six ? "2001:db8::1" : "192.0.2.1", name->port);
}

/* Every fourth with a NOOP of up to 255 bytes. */
static void say_v2(struct client *client, const struct name *name, bool local)
{
	static const uint8_t nothing[256];
	size_t ip = is_six(name) ? 16 : 4, addresses = local ? 0 : 2 * ip + 4;
	size_t noop = below(client, 4) ? 0 : below(client, 256);
	uint16_t ports[] = {htons(name->port), htons(443)};
	uint16_t length = htons((uint16_t)(addresses + (noop ? 3 + noop : 0)));
	uint8_t tlv[] = {4, 0, (uint8_t)noop};
	say(client, "\r\n\r\n\0\r\nQUIT\n", 12);
	say(client, (uint8_t[]){local ? 0x20 : 0x21, ip == 16 && !local ? 0x21 : 0x11},
	    2);
	say(client, &length, sizeof length);
	if (!local) {
		say(client, name->ip.s6_addr + 16 - ip, ip);
		say(client, nothing, ip);
		say(client, ports, sizeof ports);
	}
	if (noop) {
		say(client, tlv, sizeof tlv);
		say(client, nothing, noop);
	}
}

/* What breaks it is read after the signature. */
static void break_header(struct client *client)
{
	if (client->says[0] == 'P')
		client->says[6] = 'U'; /* UCP4 */
	else
		client->says[12 + below(client, 2)] ^= 0x44;
}

static void say_header(struct client *client, uint64_t number)
{
	bool six = client->six && below(client, 2);
	struct name name = claimed(client, number, six);
	enum header header = client->kind->header;
	if (header == LOCAL_HEADER)
		say_v2(client, &name, true);
	else if (header == V1_HEADER || below(client, 2))
		say_v1(client, &name);
	else
		say_v2(client, &name, false);
	if (header == BROKEN_HEADER)
		break_header(client);
	if (header == ANY_HEADER)
		client->expected = name;
}

static void compose(struct client *client, uint64_t number)
{
	const struct kind *kind = client->kind;
	size_t header;
	if (kind->header)
		say_header(client, number);
	header = kind->stranger ? 0 : client->length;
	if (kind->request)
		client->length +=
			(size_t)sprintf(client->says + client->length,
					"GET /%ju HTTP/1.0\r\n\r\n", (uintmax_t)number);
	sprintf(client->line, "%.*s", (int)strcspn(client->says + header, "\r"),
		client->says + header);
	if (kind->manner == CUT)
		client->length = 1 + below(client, (unsigned)client->length - 1);
}

static int compare(const void *a, const void *b)
{
	const size_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* At any bytes; a piece may come out empty. */
static void divide(struct client *client)
{
	if (!client->length)
		return;
	client->pieces = client->kind->manner == WHOLE ? 1 : 1 + below(client, PIECES);
	client->ends[0] = client->length;
	for (unsigned i = 1; i < client->pieces; i++)
		client->ends[i] = below(client, (unsigned)client->length);
	qsort(client->ends, client->pieces, sizeof *client->ends, compare);
}

/* ---- what becomes of it ---- */

/* Without what ends it. */
static const char *last_line(const struct client *client)
{
	static char text[sizeof client->heard];
	size_t length = client->got;
	memcpy(text, client->heard, length);
	while (length && (text[length - 1] == '\n' || text[length - 1] == '\r'))
		length--;
	text[length] = 0;
	const char *end = strrchr(text, '\n');
	return end ? end + 1 : text;
}

static void complain(const struct client *client, const char *what)
{
	if (wrong++ < ENOUGH)
		fprintf(stderr,
			"%s, over IPv%d: %s; expected \"%s %u %s\", heard \"%s\"\n",
			client->kind->name, client->six ? 6 : 4, what,
			text_of(&client->expected), client->expected.port, client->line,
			last_line(client));
}

static void leave(struct client *client, const char *complaint)
{
	struct tally *tally = &tallies[client->kind - kinds];
	int64_t lasted = now_ms() - client->began;
	if (!(tally->four + tally->six) || lasted < tally->fastest)
		tally->fastest = lasted;
	if (lasted > tally->slowest)
		tally->slowest = lasted;
	tally->four += !client->six;
	tally->six += client->six;
	tally->wrong += complaint != NULL;
	if (complaint)
		complain(client, complaint);
	close(client->fd);
	client->fd = -1;
	present--;
}

static bool parse_ip(char *text, struct in6_addr *ip)
{
	struct in_addr four;
	size_t length = strlen(text);
	if (text[0] == '[' && text[length - 1] == ']') {
		text[length - 1] = 0;
		text++;
	}
	if (inet_pton(AF_INET, text, &four) == 1) {
		*ip = mapped(ntohl(four.s_addr));
		return true;
	}
	return inet_pton(AF_INET6, text, ip) == 1;
}

/* NULL: the server knows it by its name, and has seen what it said. */
static const char *misjudged(const struct client *client)
{
	const char *line = last_line(client);
	char ip[64];
	struct name name;
	int rest = 0;
	if (sscanf(line, "%63s %hu %n", ip, &name.port, &rest) != 2 || !rest ||
	    !parse_ip(ip, &name.ip))
		return "it was told nothing";
	if (memcmp(&name.ip, &client->expected.ip, sizeof name.ip))
		return "wrong address";
	if (name.port != client->expected.port)
		return "wrong port";
	return strcmp(line + rest, client->line) ? "wrong first line" : NULL;
}

/* The server has closed the connection, or reset it. */
static const char *judge(const struct client *client, bool reset)
{
	int64_t lasted = now_ms() - client->began;
	if (client->kind->ending == LEAVES)
		return NULL;
	if (client->kind->ending == TOLD)
		return reset ? "reset" : misjudged(client);
	if (client->got)
		return "it was served";
	if (!reset)
		return "closed, not reset";
	if (client->kind->ending != EXPIRED)
		return NULL;
	if (lasted < timeout_ms - EARLY_MS)
		return "reset too early";
	/* The way to accept is as long as for the good ones. */
	return lasted > timeout_ms + tallies[0].slowest + LATE_MS ? "reset too late"
								  : NULL;
}

static void hear(struct client *client)
{
	ssize_t n = recv(client->fd, client->heard + client->got,
			 sizeof client->heard - 1 - client->got, MSG_DONTWAIT);
	if (n > 0)
		client->got += (size_t)n;
	else if (n == 0 || errno != EAGAIN)
		leave(client, judge(client, n < 0 || client->reset));
}

/* Its next piece, or what is done when there is none. */
static void act(struct client *client)
{
	if (client->piece < client->pieces) {
		size_t end = client->ends[client->piece++];
		if (send(client->fd, client->says + client->sent, end - client->sent,
			 MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			client->reset = true;
		client->sent = end;
		bool more =
			client->piece < client->pieces || client->kind->ending == LEAVES;
		client->due = more ? now_ms() + below(client, LATER_MS)
				   : client->began + PATIENCE_MS;
	} else {
		leave(client, client->kind->ending == LEAVES ? NULL : "stuck");
	}
}

/* ---- all of them ---- */

static const struct kind *kind_of(uint64_t *random)
{
	unsigned left = (unsigned)(draw(random) % 1000);
	const struct kind *kind = kinds;
	while (left >= kind->share)
		left -= kind++->share;
	return kind;
}

static int connect_from(uint64_t *random, bool six, bool stranger)
{
	const struct linger reset = {.l_onoff = 1}; /* leaves nothing in TIME_WAIT */
	const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
	uint64_t host = draw(random) | 1;
	uint32_t base = stranger ? STRANGER4 : TRUSTED4;
	struct sockaddr_in from4 = {.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(base | (host & 0xffff))};
	struct sockaddr_in6 from6 = {
		.sin6_family = AF_INET6,
		.sin6_addr = in_network(stranger ? STRANGER6 : TRUSTED6, host)};
	int yes = 1, fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
	if (bind(fd, six ? (void *)&from6 : (void *)&from4,
		 six ? sizeof from6 : sizeof from4))
		err(2, "bind");
	if (connect(fd, six ? (void *)&server6 : (void *)&server4,
		    six ? sizeof server6 : sizeof server4))
		err(2, "connect");
	return fd;
}

/* kind: NULL for any. */
static void enter(struct client *client, uint64_t number, const struct kind *kind)
{
	*client = (struct client){.random = seed ^ number * 0xd1342543de82ef95u};
	client->kind = kind ? kind : kind_of(&client->random);
	client->six = below(client, 100) < 40;
	client->began = now_ms();
	client->fd = connect_from(&client->random, client->six, client->kind->stranger);
	client->expected = own_name(client->fd);
	compose(client, number);
	divide(client);
	client->due = client->pieces ? 0 : client->began + below(client, LATER_MS);
	if (!client->pieces && client->kind->ending != LEAVES)
		client->due = client->began + PATIENCE_MS;
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = client};
	if (epoll_ctl(events, EPOLL_CTL_ADD, client->fd, &event))
		err(2, "epoll_ctl");
	present++;
}

static void hear_all(int wait_ms)
{
	struct epoll_event ready[64];
	int n = epoll_wait(events, ready, 64, wait_ms);
	for (int i = 0; i < n; i++)
		hear(ready[i].data.ptr);
}

/* Those whose time has come; how long until the next. */
static int act_all(struct client *clients, unsigned places)
{
	int64_t now = now_ms(), next = now + 100;
	for (unsigned i = 0; i < places; i++) {
		if (clients[i].fd >= 0 && clients[i].due <= now)
			act(&clients[i]);
		if (clients[i].fd >= 0 && clients[i].due < next)
			next = clients[i].due;
	}
	return next > now ? (int)(next - now) : 0;
}

/* The check that is due, or the next of the others. */
static void enter_next(struct client *client)
{
	if (now_ms() >= began + (int64_t)checks * 1000) {
		enter(client, count + checks, &kinds[KINDS - CHECKS + checks % CHECKS]);
		checks++;
		return;
	}
	enter(client, entered++, NULL);
	if (entered % MILESTONE == 0)
		fprintf(stderr, "%ju after %jd s\n", (uintmax_t)entered,
			(intmax_t)(now_ms() - began) / 1000);
}

static void run(unsigned at_once)
{
	struct client *clients = calloc(at_once, sizeof *clients);
	if (!clients)
		err(2, "calloc");
	for (unsigned i = 0; i < at_once; i++)
		clients[i].fd = -1;
	began = now_ms();
	while (wrong < ENOUGH && (entered < count || present)) {
		for (unsigned i = 0; i < at_once && entered < count; i++)
			if (clients[i].fd < 0)
				enter_next(&clients[i]);
		hear_all(act_all(clients, at_once));
	}
	free(clients);
}

static void report(void)
{
	for (size_t i = 0; i < KINDS; i++) {
		const struct tally *tally = &tallies[i];
		printf("%s\t%ju\t%ju\t%s\t%ju\t%jd\t%jd\n", kinds[i].name,
		       (uintmax_t)tally->four, (uintmax_t)tally->six, kinds[i].counted,
		       (uintmax_t)tally->wrong, (intmax_t)tally->fastest,
		       (intmax_t)tally->slowest);
	}
}

int main(int argc, char **argv)
{
	if (argc != 6)
		errx(2, "usage: clients PORT COUNT AT_ONCE TIMEOUT_MS SEED");
	server4.sin_port = server6.sin6_port = htons((uint16_t)atoi(argv[1]));
	server4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server6.sin6_addr = in6addr_loopback;
	count = strtoull(argv[2], NULL, 10);
	timeout_ms = atol(argv[4]);
	seed = strtoull(argv[5], NULL, 10);
	events = epoll_create1(EPOLL_CLOEXEC);
	run((unsigned)atoi(argv[3]));
	report();
	return wrong ? 1 : 0;
}
