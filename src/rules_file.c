/* SPDX-License-Identifier: MIT */
#include "rules_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "real.h"

static const char *say_why(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return "there is no such file";
	case EACCES:
	case EPERM:
		return "it may not be read";
	case ENOMEM:
		return "no memory to read it";
	default:
		return "it cannot be read";
	}
}

/* What is wrong with the file before a byte of it is read, or NULL. */
static const char *judge(int fd, bool roots, struct stat *st)
{
	if (fstat(fd, st))
		return say_why(errno);
	if (!S_ISREG(st->st_mode))
		return "it is not a regular file";
	if (st->st_size > TP_RULES_FILE_MAX)
		return "it is larger than 1 MiB";
	if (roots && st->st_uid != 0)
		return "it does not belong to root";
	if (roots && st->st_mode & (S_IWGRP | S_IWOTH))
		return "others than root may write to it";
	return NULL;
}

/* As many bytes as the file had a moment ago, and not one more behind them. */
static bool read_text(int fd, struct tp_rules_file *file, size_t size)
{
	while (true) {
		char beyond;
		bool full = file->len == size;
		ssize_t n = read(fd, full ? &beyond : file->text + file->len,
				 full ? 1 : size - file->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 && full;
		if (full)
			return false;
		file->len += (size_t)n;
	}
}

static struct tp_rules_file *read_open(int fd, bool roots, const char **reason)
{
	struct stat st;
	errno = 0;
	*reason = judge(fd, roots, &st);
	if (*reason)
		return NULL;
	size_t size = (size_t)st.st_size, mapped = sizeof(struct tp_rules_file) + size;
	struct tp_rules_file *file = mmap(NULL, mapped, PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (file == MAP_FAILED) {
		*reason = say_why(errno);
		return NULL;
	}
	file->mapped = mapped;
	if (read_text(fd, file, size))
		return file;
	*reason = "it cannot be read, or was changed meanwhile";
	tp_rules_file_free(file);
	return NULL;
}

struct tp_rules_file *tp_rules_file_read(const char *path, size_t path_len, bool roots,
					 const char **reason)
{
	char name[TP_RULES_PATH];
	if (path_len >= sizeof name) {
		errno = ENAMETOOLONG;
		*reason = say_why(errno);
		return NULL;
	}
	memcpy(name, path, path_len);
	name[path_len] = '\0';
	/* O_NONBLOCK: a FIFO nobody writes to must not hold the program up. */
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		*reason = say_why(errno);
		return NULL;
	}
	struct tp_rules_file *file = read_open(fd, roots, reason);
	if (file)
		memcpy(file->path, name, path_len + 1);
	tp_real()->close(fd);
	return file;
}

void tp_rules_file_free(struct tp_rules_file *file)
{
	if (file)
		munmap(file, file->mapped);
}
