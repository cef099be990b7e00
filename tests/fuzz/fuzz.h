/* SPDX-License-Identifier: MIT */
/* What the fuzz targets share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A law that must hold for every input. */
#define LAW(condition)                                                                   \
	((condition) ? (void)0                                                           \
		     : (fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,       \
				#condition),                                             \
			abort()))

/* Of a text, the first is 1. */
static inline size_t line_of(const char *text, const char *at)
{
	size_t line = 1;
	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
