/* SPDX-License-Identifier: MIT */
/* A program as the kernel would start it, and whether LD_PRELOAD reaches it. */
#ifndef TP_EXECUTABLE_H
#define TP_EXECUTABLE_H

#include <limits.h>
#include <stdbool.h>

#include "elf.h"
#include "findings.h"

struct tp_executable {
	char path[PATH_MAX];   /* of the command */
	char binary[PATH_MAX]; /* what is loaded in the end: of scripts the interpreter */
	struct tp_elf elf;     /* the binary */
};

/*
 * Finds a command as a shell does, and follows "#!". 0, or an errno: ENOENT when there is
 * no such command, else why it cannot be executed; then program->binary (or path, if
 * empty) is what it is about.
 */
int tp_executable_find(const char *command, struct tp_executable *program);

/* What keeps LD_PRELOAD=library from the binary, whoever starts it. */
void tp_executable_examine(const char *binary, const struct tp_elf *elf,
			   const struct tp_elf *library, struct tp_findings *findings);

/* Whether the loader would ignore LD_PRELOAD because this user gains privileges. */
void tp_executable_examine_privileges(const char *binary, struct tp_findings *findings);

#endif
