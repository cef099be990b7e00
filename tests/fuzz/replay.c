/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over files, without libFuzzer: replay FILE ... */
#include <string.h>

#include "fuzz.h"

static void run(const char *path)
{
	static uint8_t bytes[1 << 20];
	FILE *file = fopen(path, "rb");
	LAW(file);
	size_t size = fread(bytes, 1, sizeof bytes, file);
	fclose(file);
	/* Alone in memory of its own, so that sanitizers see a step beyond. */
	uint8_t *data = malloc(size ? size : 1);
	LAW(data);
	memcpy(data, bytes, size);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	printf("%d inputs\n", argc - 1);
	return 0;
}
