/* SPDX-License-Identifier: MIT */
#include "process.h"

#include <ctype.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "environ.h"
#include "library.h"
#include "peer_record.h"

#define FILE_MAX (8 * 1024 * 1024)

char *tp_file_read(const char *path, size_t max, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = NULL;
	size_t room = 0;
	ssize_t n = fd < 0 ? -1 : 1;
	for (*len = 0; n > 0 && *len<max; *len += n> 0 ? (size_t)n : 0) {
		if (*len == room) {
			room += 65536;
			char *more = realloc(text, room + 1);
			if (!more)
				break;
			text = more;
		}
		n = read(fd, text + *len, room - *len);
	}
	int saved = errno;
	if (fd >= 0)
		close(fd);
	if (n < 0) {
		free(text);
		errno = saved;
		return NULL;
	}
	if (text)
		text[*len] = '\0';
	return text;
}

static char *read_entry(pid_t pid, const char *name, size_t *len)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return tp_file_read(path, FILE_MAX, len);
}

/* Texts that end in NULs, as a list; the texts stay in memory with it. NULL on error. */
static char **read_list(pid_t pid, const char *name)
{
	size_t len, count = 0;
	char *text = read_entry(pid, name, &len);
	if (!text)
		return NULL;
	for (size_t i = 0; i <= len; i++)
		count += !text[i];
	size_t table = (count + 1) * sizeof(char *);
	char **list = malloc(table + len + 1);
	if (list) {
		char *copy = memcpy((char *)list + table, text, len + 1);
		size_t n = 0;
		for (size_t at = 0; at < len; at += strlen(copy + at) + 1)
			list[n++] = copy + at;
		list[n] = NULL;
	}
	free(text);
	return list;
}

/* The variables at an address of another process, ended by NULL, where environ.c has put
 * them: pointers, then texts. NULL when this is no such place. */
static char **read_copy(int memory, uint64_t address)
{
	enum { POINTERS = 64, TEXT = 64 * 1024 };
	uint64_t pointers[POINTERS];
	if (pread(memory, pointers, sizeof pointers, (off_t)address) != sizeof pointers ||
	    *pointers <= address || *pointers > address + sizeof pointers)
		return NULL;
	char **copy = calloc(1, POINTERS * sizeof *copy + TEXT);
	char *text = copy ? (char *)(copy + POINTERS) : NULL;
	ssize_t n = copy ? pread(memory, text, TEXT - 1, (off_t)*pointers) : 0;
	for (size_t i = 0; i < POINTERS - 1 && pointers[i]; i++) {
		if (pointers[i] < *pointers || pointers[i] >= *pointers + (uint64_t)n)
			break;
		copy[i] = text + (pointers[i] - *pointers);
		if (strncmp(copy[i], TP_ENVIRON_PREFIX, strlen(TP_ENVIRON_PREFIX))) {
			*copy = NULL;
			break;
		}
	}
	if (copy && !*copy) {
		free(copy);
		return NULL;
	}
	return copy;
}

/* The copy is a private mapping of its own, though the kernel may have joined it with its
 * neighbours: it begins at some page. */
static void read_settings(struct tp_process *process, int memory)
{
	enum { MAPPING_MAX = 1024 * 1024 * 1024 };
	char *line, *rest, *text;
	size_t len, page = (size_t)sysconf(_SC_PAGESIZE);
	rest = text = read_entry(process->pid, "maps", &len);
	while (rest && !process->settings && (line = strsep(&rest, "\n"))) {
		unsigned long at, end, inode;
		if (sscanf(line, "%lx-%lx rw-p %*s %*s %lu", &at, &end, &inode) != 3 ||
		    inode || end - at > MAPPING_MAX)
			continue;
		for (; at < end && !process->settings; at += page)
			process->settings = read_copy(memory, at);
	}
	free(text);
}

/* A word of this many bytes, 4 or 8. */
static uint64_t read_word(const char *at, size_t size)
{
	uint32_t narrow;
	uint64_t wide;
	memcpy(&narrow, at, sizeof narrow);
	if (size == sizeof narrow)
		return narrow;
	memcpy(&wide, at, sizeof wide);
	return wide;
}

/* A value in the auxiliary vector, or 0. Its words are those of the process: wide ones if
 * half of the first is empty, since the types are small numbers. */
static uint64_t read_auxiliary(pid_t pid, uint64_t type)
{
	size_t len = 0, size = 8;
	uint64_t value = 0;
	char *text = read_entry(pid, "auxv", &len);
	if (len >= 8 && read_word(text, 4) && read_word(text + 4, 4))
		size = 4;
	for (size_t at = 0; text && at + 2 * size <= len; at += 2 * size)
		if (read_word(text + at, size) == type)
			value = read_word(text + at + size, size);
	free(text);
	return value;
}

/* The text stands at the end of the stack. */
static void read_executed(struct tp_process *process, int memory)
{
	uint64_t at = read_auxiliary(process->pid, AT_EXECFN);
	ssize_t n = pread(memory, process->executed, sizeof process->executed, (off_t)at);
	if (n <= 0 || !memchr(process->executed, '\0', (size_t)n))
		*process->executed = '\0';
}

static void read_memory(struct tp_process *process)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/mem", process->pid);
	int memory = open(path, O_RDONLY | O_CLOEXEC);
	process->is_closed = memory < 0;
	if (process->is_closed)
		return;
	read_settings(process, memory);
	read_executed(process, memory);
	close(memory);
}

static void add_library(struct tp_process *process, const char *path)
{
	for (size_t i = 0; i < process->library_count && i < TP_PROCESS_LIBRARIES; i++)
		if (!strcmp(process->libraries[i], path))
			return;
	if (process->library_count < TP_PROCESS_LIBRARIES)
		snprintf(process->libraries[process->library_count], PATH_MAX, "%s",
			 path);
	process->library_count++;
}

/* proc_pid_maps(5): the path stands behind five fields. */
static void read_libraries(struct tp_process *process)
{
	size_t len;
	char *text = read_entry(process->pid, "maps", &len), *rest = text;
	for (char *line; rest && (line = strsep(&rest, "\n"));) {
		char *path = strchr(line, '/');
		if (path && tp_library_is_named(path, strlen(path)))
			add_library(process, path);
	}
	free(text);
}

static void note_descriptor(struct tp_process *process, const char *link)
{
	unsigned long inode;
	if (!strcmp(link, "anon_inode:[io_uring]"))
		process->has_ring = true;
	if (sscanf(link, "socket:[%lu]", &inode) != 1)
		return;
	uint64_t *more =
		realloc(process->sockets, (process->socket_count + 1) * sizeof *more);
	if (!more)
		return;
	process->sockets = more;
	process->sockets[process->socket_count++] = inode;
}

/* 0, or an errno. */
static int read_descriptors(struct tp_process *process)
{
	char path[64], link[64];
	snprintf(path, sizeof path, "/proc/%d/fd", process->pid);
	DIR *folder = opendir(path);
	if (!folder)
		return errno;
	for (struct dirent *at; (at = readdir(folder));) {
		ssize_t n = readlinkat(dirfd(folder), at->d_name, link, sizeof link - 1);
		link[n > 0 ? n : 0] = '\0';
		note_descriptor(process, link);
	}
	closedir(folder);
	return 0;
}

int tp_process_read(pid_t pid, struct tp_process *process)
{
	char path[64];
	*process = (struct tp_process){.pid = pid};
	snprintf(path, sizeof path, "/proc/%d", pid);
	if (access(path, F_OK))
		return ESRCH;
	int error = read_descriptors(process);
	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	ssize_t n = error ? 0 : readlink(path, process->exe, sizeof process->exe - 1);
	if (n < 0)
		error = errno == ENOENT ? ESRCH : errno; /* kernel threads have none */
	if (!error && !(process->variables = read_list(pid, "environ")))
		error = errno;
	if (!error && !(process->arguments = read_list(pid, "cmdline")))
		error = errno;
	if (error) {
		tp_process_free(process);
		return error;
	}
	process->parent = tp_process_parent(pid);
	process->secure = read_auxiliary(pid, AT_SECURE);
	read_libraries(process);
	if (process->library_count)
		read_memory(process);
	return 0;
}

void tp_process_free(struct tp_process *process)
{
	free(process->variables);
	free(process->settings);
	free(process->arguments);
	free(process->sockets);
}

const char *tp_process_variable(const struct tp_process *process, const char *name)
{
	size_t len = strlen(name);
	for (char **at = process->variables; *at; at++)
		if (!strncmp(*at, name, len) && (*at)[len] == '=')
			return *at + len + 1;
	return NULL;
}

bool tp_process_holds(const struct tp_process *process, uint64_t socket)
{
	for (size_t i = 0; i < process->socket_count; i++)
		if (process->sockets[i] == socket)
			return true;
	return false;
}

/* The kernel's slot on a socket of another process; see peer.h. */
static bool has_record(int pidfd, int theirs)
{
	struct tp_peer_record record;
	struct tp_peer peer;
	socklen_t size = sizeof record;
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
	if (fd < 0)
		return false;
	bool has = !getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, &record, &size) &&
		   tp_peer_record_unpack(&record, size, &peer);
	close(fd);
	return has;
}

bool tp_process_has_record(const struct tp_process *process)
{
	char path[64];
	bool has = false;
	int pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	snprintf(path, sizeof path, "/proc/%d/fd", process->pid);
	DIR *folder = opendir(path);
	for (struct dirent *at; folder && !has && pidfd >= 0 && (at = readdir(folder));)
		if (isdigit((unsigned char)*at->d_name))
			has = has_record(pidfd, atoi(at->d_name));
	if (folder)
		closedir(folder);
	if (pidfd >= 0)
		close(pidfd);
	return has;
}

/* cgroups(7): of "/system.slice/x.service/sub" the last part that is a service. */
bool tp_process_unit(pid_t pid, char unit[NAME_MAX + 1])
{
	static const char suffix[] = ".service";
	size_t len;
	char *text = read_entry(pid, "cgroup", &len), *rest = text;
	*unit = '\0';
	for (char *part; rest && (part = strsep(&rest, "/\n"));) {
		size_t n = strlen(part);
		/* A user's services are children of user@UID.service. */
		if (n > strlen(suffix) && !strcmp(part + n - strlen(suffix), suffix) &&
		    strncmp(part, "user@", 5))
			snprintf(unit, NAME_MAX + 1, "%s", part);
	}
	free(text);
	return *unit;
}

void tp_process_path(pid_t pid, const char *path, char seen[PATH_MAX])
{
	if (snprintf(seen, PATH_MAX, "/proc/%d/root%s", pid, path) >= PATH_MAX)
		*seen = '\0';
}

pid_t *tp_process_list(void)
{
	DIR *folder = opendir("/proc");
	pid_t *list = calloc(1, sizeof *list);
	size_t count = 0;
	for (struct dirent *at; folder && list && (at = readdir(folder));) {
		if (!isdigit((unsigned char)*at->d_name))
			continue;
		pid_t *more = realloc(list, (count + 2) * sizeof *more);
		if (!more)
			break;
		list = more;
		list[count++] = atoi(at->d_name);
		list[count] = 0;
	}
	if (folder)
		closedir(folder);
	return list;
}

pid_t tp_process_parent(pid_t pid)
{
	size_t len;
	int parent = 0;
	char *text = read_entry(pid, "stat", &len);
	/* The name, in parentheses, may hold anything. */
	const char *end = text ? strrchr(text, ')') : NULL;
	if (!end || sscanf(end, ") %*c %d", &parent) != 1)
		parent = 0;
	free(text);
	return parent;
}
