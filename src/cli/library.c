/* SPDX-License-Identifier: MIT */
#include "library.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "libtruepeer.so"

/* The library beside this program, where libtool builds it. */
static bool find_in_build_tree(char path[PATH_MAX])
{
	char own[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
	own[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(own, '/');
	if (!slash)
		return false;
	*slash = '\0';
	return snprintf(path, PATH_MAX, "%s/.libs/" NAME, own) < PATH_MAX &&
	       !access(path, R_OK);
}

const char *tp_library_find(const char *given, struct tp_library *library)
{
	char path[PATH_MAX];
	if (given)
		snprintf(path, sizeof path, "%s", given);
	else if (!find_in_build_tree(path))
		snprintf(path, sizeof path, "%s", TP_PKGLIBDIR "/" NAME);
	if (!realpath(path, library->path)) {
		snprintf(library->path, sizeof library->path, "%s", path);
		return errno == ENOENT ? "the library is not there: install it, or name "
					 "it with --library"
				       : strerror(errno);
	}
	if (strpbrk(library->path, ": \t\n"))
		return "LD_PRELOAD takes no path with spaces or colons in it";
	if (!tp_elf_read(library->path, &library->elf))
		return strerror(errno);
	return library->elf.is_elf ? NULL : "not a shared library";
}

bool tp_library_is_named(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);
	size_t before = slash ? (size_t)(slash + 1 - path) : 0;
	return len - before >= strlen(NAME) && !memcmp(path + before, NAME, strlen(NAME));
}
