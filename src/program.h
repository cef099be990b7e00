/* SPDX-License-Identifier: MIT */
/*
 * Which program this is.
 *
 * What argv[0] and prctl(2) say is the program's, or its starter's, to choose. The kernel
 * knows two names that neither can change: the file that was executed, and the file that
 * this turned out to be, which is another one for symbolic links and scripts.
 */
#ifndef TP_PROGRAM_H
#define TP_PROGRAM_H

#include <limits.h>
#include <string.h>

/* The name of a file, without its folders: within the path. Pure. */
static inline const char *tp_program_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

struct tp_program {
	const char *names[3]; /* without folders; one or two, ended by NULL */
	char file[PATH_MAX];
};

/*
 * Finds the names out: AT_EXECFN (getauxval(3)), and /proc/self/exe where there is a
 * /proc. In secure execution the second alone: the caller chooses the first. To be called
 * early, before the program changes its root. errno is not kept.
 */
void tp_program_identify(struct tp_program *program);

#endif
