/* SPDX-License-Identifier: MIT */
/* Secure execution, played: the program's own getauxval stands before libc's. */
#ifndef SECURE_H
#define SECURE_H

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>

static bool secure_execution;

unsigned long getauxval(unsigned long type)
{
	void *found = dlsym(RTLD_NEXT, "getauxval");
	unsigned long (*real)(unsigned long);
	memcpy(&real, &found, sizeof real);
	return type == AT_SECURE ? secure_execution : real(type);
}

#endif
