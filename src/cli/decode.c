/* SPDX-License-Identifier: MIT */
/* truepeer decode: shows a captured header. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "escape.h"
#include "fields.h"
#include "header.h"
#include "json.h"

static const char usage[] =
	"Usage: truepeer decode [--json] [FILE | - | --hex STRING]\n"
	"Shows the PROXY header at the start of FILE, or of standard input.\n\n"
	"      --hex STRING  the bytes in hexadecimal; spaces and colons may divide "
	"them\n"
	"      --json        one JSON object\n"
	"  -h, --help        this text\n\n"
	"Exit status: 0 a complete and valid header, 1 anything else, 2 wrong usage.\n";

/* How much of what follows the header is shown. */
#define SHOWN 64

/* The longest header and what is shown behind it; the rest is only counted. */
struct input {
	uint8_t bytes[TP_HEADER_V2_MAX + SHOWN];
	size_t len;
	uint64_t total;
};

/* What decode found out. */
struct finding {
	const struct input *input;
	enum tp_verdict verdict;
	struct tp_header header;
	size_t offset; /* unless DONE: where it ends to be a header */
	char error[128];
};

/* ---- reading ---- */

static bool read_all(int fd, struct input *input)
{
	uint8_t rest[65536];
	for (;;) {
		size_t room = sizeof input->bytes - input->len;
		ssize_t n = read(fd, room ? input->bytes + input->len : rest,
				 room ? room : sizeof rest);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return !n;
		input->len += room ? (size_t)n : 0;
		input->total += (uint64_t)n;
	}
}

static bool read_file(const char *path, struct input *input)
{
	if (!path || !strcmp(path, "-"))
		return read_all(STDIN_FILENO, input);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = read_all(fd, input);
	close(fd);
	return ok;
}

/* ---- judging ---- */

/* How many bytes agree with one of the two ways a header begins. */
static size_t agreement(const uint8_t *bytes, size_t len)
{
	static const char *const marks[] = {TP_HEADER_V1_MARK, TP_HEADER_V2_MARK};
	static const size_t sizes[] = {TP_HEADER_V1_MARK_SIZE, TP_HEADER_V2_MARK_SIZE};
	size_t best = 0;
	for (int i = 0; i < 2; i++) {
		size_t n = 0;
		while (n < len && n < sizes[i] && bytes[n] == (uint8_t)marks[i][n])
			n++;
		best = n > best ? n : best;
	}
	return best;
}

static void judge(struct finding *finding)
{
	const struct input *input = finding->input;
	struct tp_header *header = &finding->header;
	finding->verdict =
		tp_header_parse(input->bytes, input->len, TP_HEADER_V2_MAX, header);
	switch (finding->verdict) {
	case TP_DONE:
		break;
	case TP_MORE:
		finding->offset = input->len;
		snprintf(finding->error, sizeof finding->error,
			 "incomplete: ends after %zu bytes, at least %zu are needed",
			 input->len, header->length);
		break;
	case TP_NONE:
		finding->offset = agreement(input->bytes, input->len);
		snprintf(finding->error, sizeof finding->error, "not a PROXY header");
		break;
	case TP_BAD:
		finding->offset = header->offset;
		snprintf(finding->error, sizeof finding->error, "invalid: %s",
			 header->reason);
		break;
	}
}

static const char *command_name(const struct tp_header *header)
{
	static const char *const names[] = {
		[TP_LOCAL] = "LOCAL", [TP_PROXY] = "PROXY", [TP_UNKNOWN] = "UNKNOWN"};
	return names[header->command];
}

static const char *family_name(const struct tp_header *header)
{
	switch (header->family) {
	case AF_INET:
		return "inet";
	case AF_INET6:
		return "inet6";
	case AF_UNIX:
		return "unix";
	default:
		return "unspec";
	}
}

static const char *transport_name(const struct tp_header *header)
{
	static const char *const names[] = {"unspec", "stream", "dgram"};
	return names[header->transport];
}

static const char *crc32c_name(const struct tp_header *header)
{
	return header->crc32c ? "ok" : "absent";
}

/* A path of a UNIX socket as text: "hex:..." unless it is printable. */
static size_t path_text(const uint8_t *path, char text[4 + TP_UNIX_PATHS + 1])
{
	size_t len = TP_UNIX_PATHS / 2, plain = 0, at = 0;
	while (len && !path[len - 1])
		len--;
	while (plain < len && path[plain] >= 0x20 && path[plain] < 0x7f)
		plain++;
	if (plain == len) {
		memcpy(text, path, len);
		return len;
	}
	at = (size_t)sprintf(text, "hex:");
	for (size_t i = 0; i < len; i++)
		at += (size_t)sprintf(text + at, "%02x", path[i]);
	return at;
}

/* ---- as JSON ---- */

static void json_side(struct tp_json *json, const struct tp_header *header, int side)
{
	static const char *const keys[] = {"src", "dst"}, *const ports[] = {"sport",
									    "dport"};
	const struct tp_addr *addr = side ? &header->dst : &header->src;
	char text[4 + TP_UNIX_PATHS + 1];
	if (header->unix_paths)
		tp_json_text(
			json, keys[side], text,
			path_text(header->unix_paths + side * TP_UNIX_PATHS / 2, text));
	else if (addr->family)
		tp_json_text(json, keys[side], text, tp_addr_format(addr, text));
	else
		tp_json_string(json, keys[side], NULL);
	if (addr->family)
		tp_json_number(json, ports[side], addr->port);
	else
		tp_json_string(json, ports[side], NULL);
}

static void json_fields(struct tp_json *json, struct tp_fields fields);

static void json_field(struct tp_json *json, const struct tp_field *field)
{
	uint64_t number;
	char digits[24];
	tp_json_begin(json, NULL, '{');
	tp_json_number(json, "type", field->type);
	tp_json_string(json, "name", field->kind->name);
	tp_json_hex(json, "hex", field->value, field->length);
	if (field->kind->form == TP_FIELD_TEXT)
		tp_json_text(json, "value", field->value, field->length);
	if (tp_field_number(field, &number)) {
		/* As text: JSON's numbers do not hold 64 bits everywhere. */
		snprintf(digits, sizeof digits, "%" PRIu64, number);
		tp_json_string(json, "value", digits);
	}
	if (field->kind->form == TP_FIELD_SSL && field->length >= TP_FIELD_SSL_HEAD) {
		tp_json_number(json, "client", field->value[0]);
		tp_json_number(json, "verify", tp_field_ssl_verify(field));
	}
	if (tp_field_has_fields(field))
		json_fields(json, tp_fields_within(field));
	tp_json_end(json, '}');
}

static void json_fields(struct tp_json *json, struct tp_fields fields)
{
	struct tp_field field;
	tp_json_begin(json, "tlvs", '[');
	while (tp_fields_next(&fields, &field))
		json_field(json, &field);
	tp_json_end(json, ']');
	if (fields.at != fields.length)
		tp_json_bool(json, "broken", true);
}

static void json_header(struct tp_json *json, const struct finding *finding)
{
	const struct tp_header *header = &finding->header;
	tp_json_number(json, "version", header->version);
	tp_json_string(json, "command", command_name(header));
	tp_json_string(json, "family", family_name(header));
	tp_json_string(json, "transport", transport_name(header));
	json_side(json, header, 0);
	json_side(json, header, 1);
	tp_json_number(json, "length", header->length);
	tp_json_string(json, "crc32c", crc32c_name(header));
	json_fields(json, tp_fields_of_header(header->tlvs, header->tlvs_length));
	tp_json_number(json, "follows", finding->input->total - header->length);
}

static void show_json(const struct finding *finding)
{
	struct tp_json json = {stdout, false};
	tp_json_begin(&json, NULL, '{');
	if (finding->verdict == TP_DONE) {
		json_header(&json, finding);
	} else {
		tp_json_string(&json, "error", finding->error);
		tp_json_number(&json, "offset", finding->offset);
	}
	tp_json_end(&json, '}');
	putchar('\n');
}

/* ---- as text ---- */

static void text_side(const struct tp_header *header, int side)
{
	const struct tp_addr *addr = side ? &header->dst : &header->src;
	char text[4 + TP_UNIX_PATHS + 1];
	if (!header->unix_paths && !addr->family)
		return;
	printf("%-12s", side ? "destination" : "source");
	if (header->unix_paths) {
		size_t len =
			path_text(header->unix_paths + side * TP_UNIX_PATHS / 2, text);
		tp_escape_quoted(stdout, text, len);
		putchar('\n');
		return;
	}
	tp_addr_format(addr, text);
	printf(addr->family == AF_INET6 ? "[%s]:%u\n" : "%s:%u\n", text, addr->port);
}

/* Section 2.2.6. */
static void text_ssl(const struct tp_field *field)
{
	static const char *const flags[] = {"TLS", "certificate on this connection",
					    "certificate in this session"};
	if (field->length < TP_FIELD_SSL_HEAD)
		return;
	printf("client 0x%02x", field->value[0]);
	for (int i = 0; i < 3; i++)
		if (field->value[0] & 1 << i)
			printf(", %s", flags[i]);
	printf("; verify %" PRIu32, tp_field_ssl_verify(field));
}

static void text_value(const struct tp_field *field)
{
	uint64_t number;
	if (field->kind->form == TP_FIELD_TYPED)
		return;
	fputs(": ", stdout);
	if (field->kind->form == TP_FIELD_SSL)
		text_ssl(field);
	else if (tp_field_number(field, &number))
		printf("%" PRIu64, number);
	else
		tp_escape_quoted(stdout, field->value, field->length);
}

static void text_fields(struct tp_fields fields, int indent)
{
	struct tp_field field;
	while (tp_fields_next(&fields, &field)) {
		printf("%*s0x%02X %s, %zu bytes", indent, "", field.type,
		       field.kind->name, field.length);
		text_value(&field);
		putchar('\n');
		if (tp_field_has_fields(&field))
			text_fields(tp_fields_within(&field), indent + 2);
	}
	if (fields.at != fields.length)
		printf("%*sits inside is broken\n", indent, "");
}

static void text_follows(const struct input *input, size_t header)
{
	uint64_t follows = input->total - header;
	if (!follows)
		return;
	printf("%-12s%" PRIu64 " bytes: ", "follows", follows);
	tp_escape_quoted(stdout, input->bytes + header,
			 follows < SHOWN ? follows : SHOWN);
	puts(follows > SHOWN ? " ..." : "");
}

static void show_text(const struct finding *finding)
{
	const struct tp_header *header = &finding->header;
	if (finding->verdict != TP_DONE) {
		printf("%s (at byte %zu)\n", finding->error, finding->offset);
		return;
	}
	printf("version     %d\n", header->version);
	printf("command     %s\n", command_name(header));
	printf("family      %s\n", family_name(header));
	printf("transport   %s\n", transport_name(header));
	text_side(header, 0);
	text_side(header, 1);
	printf("length      %zu bytes\n", header->length);
	printf("crc32c      %s\n", crc32c_name(header));
	if (header->tlvs_length)
		puts("tlvs");
	text_fields(tp_fields_of_header(header->tlvs, header->tlvs_length), 2);
	text_follows(finding->input, header->length);
}

/* ---- the command ---- */

struct options {
	const char *hex, *path;
	bool json;
};

/* -1, or the exit status. */
static int read_options(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {{"hex", required_argument, NULL, 'x'},
					      {"json", no_argument, NULL, 'j'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
		if (c == 'x')
			options->hex = optarg;
		else if (c == 'j')
			options->json = true;
		else
			return c == 'h' ? tp_cli_help(usage) : TP_CLI_USAGE;
	}
	options->path = argv[optind];
	int given = argc - optind;
	if (given && options->hex)
		return tp_cli_wrong(argv[0], argv[optind], "a file beside --hex");
	if (given > 1)
		return tp_cli_wrong(argv[0], argv[optind + 1], "one file at a time");
	return -1;
}

static int read_input(const char *name, const struct options *options,
		      struct input *input)
{
	if (!options->hex) {
		if (read_file(options->path, input))
			return -1;
		tp_cli_wrong(name, options->path ? options->path : "-", strerror(errno));
		return TP_CLI_NO;
	}
	if (strlen(options->hex) / 2 > sizeof input->bytes)
		return tp_cli_wrong(name, NULL, "--hex: too long; use a file");
	const char *bad = tp_unescape_hex(options->hex, input->bytes, &input->len);
	input->total = input->len;
	return bad ? tp_cli_wrong(name, bad, "not pairs of hexadecimal digits") : -1;
}

int tp_cli_decode(int argc, char **argv)
{
	static struct input input;
	struct options options = {0};
	struct finding finding = {.input = &input};
	int status = read_options(argc, argv, &options);
	if (status < 0)
		status = read_input(argv[0], &options, &input);
	if (status >= 0)
		return status;
	judge(&finding);
	(options.json ? show_json : show_text)(&finding);
	return tp_cli_finish(argv[0],
			     finding.verdict == TP_DONE ? TP_CLI_YES : TP_CLI_NO);
}
