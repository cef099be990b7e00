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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
