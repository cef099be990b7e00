/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "environ.h"

void tp_program_identify(struct tp_program *program)
{
	const char *executed = (const char *)getauxval(AT_EXECFN);
	ssize_t len = readlink("/proc/self/exe", program->file, sizeof program->file - 1);
	size_t count = 0;
	memset(program->names, 0, sizeof program->names);
	if (len > 0) {
		program->file[len] = '\0';
		program->names[count++] = tp_program_name(program->file);
	}
	if (executed && tp_environ_is_trusted())
		program->names[count++] = tp_program_name(executed);
}
