/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "environ.h"

static const char *without_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

void tp_program_identify(struct tp_program *program)
{
	const char *executed = (const char *)getauxval(AT_EXECFN);
	ssize_t len = readlink("/proc/self/exe", program->file, sizeof program->file - 1);
	size_t count = 0;
	memset(program->names, 0, sizeof program->names);
	if (len > 0) {
		program->file[len] = '\0';
		program->names[count++] = without_folder(program->file);
	}
	if (executed && tp_environ_is_trusted())
		program->names[count++] = without_folder(executed);
}
