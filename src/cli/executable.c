/* SPDX-License-Identifier: MIT */
#include "executable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPTS_MAX 5 /* how deep the kernel follows interpreters that are scripts */
#define SHELL "/bin/sh"

/* 0, or why the file cannot be executed. */
static int check_executable(const char *path)
{
	struct stat status;
	if (stat(path, &status))
		return errno;
	if (S_ISDIR(status.st_mode))
		return EISDIR;
	if (!S_ISREG(status.st_mode))
		return EACCES;
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) ? errno : 0;
}

static bool join(char to[PATH_MAX], const char *folder, size_t folder_len,
		 const char *name)
{
	/* An empty entry in PATH is the current folder. */
	int n = snprintf(to, PATH_MAX, "%.*s/%s", folder_len ? (int)folder_len : 1,
			 folder_len ? folder : ".", name);
	return n < PATH_MAX;
}

/* Searches PATH; of what cannot be executed the first is told, as execvp does. */
static int search(const char *command, char path[PATH_MAX])
{
	char fallback[256] = "", tried[PATH_MAX];
	const char *folders = getenv("PATH");
	int error = ENOENT;
	if (!folders) {
		confstr(_CS_PATH, fallback, sizeof fallback);
		folders = fallback;
	}
	for (;; folders++) {
		size_t len = strcspn(folders, ":");
		int why = join(tried, folders, len, command) ? check_executable(tried)
							     : ENAMETOOLONG;
		if (!why || (error == ENOENT && why != ENOENT && why != ENOTDIR)) {
			memcpy(path, tried, sizeof tried);
			error = why;
		}
		folders += len;
		if (!why || !*folders)
			return error;
	}
}

static int find_path(const char *command, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s", command);
	if (!*command)
		return ENOENT;
	if (strlen(command) >= PATH_MAX)
		return ENAMETOOLONG;
	return strchr(command, '/') ? check_executable(command) : search(command, path);
}

/* The interpreter that a script names in its first line; false when there is none. */
static bool read_interpreter(const char *path, char interpreter[PATH_MAX])
{
	char line[PATH_MAX + 2] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
	if (fd >= 0)
		close(fd);
	if (n < 2 || memcmp(line, "#!", 2))
		return false;
	char *word = line + 2 + strspn(line + 2, " \t");
	word[strcspn(word, " \t\r\n")] = '\0';
	snprintf(interpreter, PATH_MAX, "%s", word);
	return *word;
}

int tp_executable_find(const char *command, struct tp_executable *program)
{
	*program = (struct tp_executable){0};
	int error = find_path(command, program->path);
	if (error)
		return error;
	memcpy(program->binary, program->path, sizeof program->binary);
	for (int depth = 0; depth < SCRIPTS_MAX; depth++) {
		char interpreter[PATH_MAX] =
			SHELL; /* for text without "#!", as shells do */
		if (!tp_elf_read(program->binary, &program->elf))
			/* What may be executed, but not read, is left to the kernel. */
			return errno == EACCES ? 0 : errno;
		if (program->elf.is_elf)
			return 0;
		if (!read_interpreter(program->binary, interpreter) && depth)
			return ENOEXEC;
		memcpy(program->binary, interpreter, sizeof program->binary);
		if ((error = check_executable(program->binary)))
			return error == ENOENT ? ENOEXEC : error;
	}
	return ELOOP;
}

static const char *libc_name(enum tp_libc libc)
{
	return libc == TP_LIBC_MUSL ? "musl" : "glibc";
}

void tp_executable_examine(const char *binary, const struct tp_elf *elf,
			   const struct tp_elf *library, struct tp_findings *findings)
{
	const char *name = tp_finding_quote(binary);
	if (!elf->is_elf)
		return;
	if (elf->go)
		tp_finding_add(findings, "go",
			       "let the program read the header itself (Go has packages "
			       "for it), or let a server that can stand before it",
			       "%s is a Go program: it makes its system calls itself, "
			       "past any preloaded library",
			       name);
	else if (!tp_elf_same_machine(elf, library))
		tp_finding_add(findings, "architecture",
			       "build the library for the program's architecture, and "
			       "name it with --library",
			       "%s is a program for %s, the library is for another "
			       "architecture",
			       name, tp_elf_machine_name(elf));
	else if (!*elf->interpreter)
		tp_finding_add(findings, "static",
			       "use a dynamically linked build of the program",
			       "%s is statically linked: no loader runs that would heed "
			       "LD_PRELOAD",
			       name);
	else if (elf->libc && library->libc && elf->libc != library->libc)
		tp_finding_add(findings, "libc",
			       "build the library against the program's libc, and name "
			       "it with --library",
			       "%s runs on %s, the library was built for %s", name,
			       libc_name(elf->libc), libc_name(library->libc));
}

/* Whether the kernel heeds setuid bits and capabilities of this file for us at all. */
static bool gains_privileges(const char *binary)
{
	struct statvfs mount;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 &&
	       !(statvfs(binary, &mount) == 0 && mount.f_flag & ST_NOSUID);
}

void tp_executable_examine_privileges(const char *binary, struct tp_findings *findings)
{
	static const char remedy[] =
		"start it as the user it needs to be (for a port below 1024 the "
		"capability may come from the service manager: systemd's "
		"AmbientCapabilities=CAP_NET_BIND_SERVICE), and take the bit or the "
		"capabilities off the file";
	struct stat status;
	if (!gains_privileges(binary) || stat(binary, &status))
		return;
	bool setuid = status.st_mode & S_ISUID && status.st_uid != getuid();
	bool setgid = (status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
		      status.st_gid != getgid();
	/* Root has all capabilities: a file adds none. */
	bool capable = getuid() && getxattr(binary, "security.capability", NULL, 0) > 0;
	if (setuid || setgid || capable)
		tp_finding_add(findings, capable ? "capabilities" : "setuid", remedy,
			       "%s %s: the loader ignores LD_PRELOAD for it",
			       tp_finding_quote(binary),
			       capable	? "has file capabilities"
			       : setuid ? "is setuid"
					: "is setgid");
}
