/* SPDX-License-Identifier: MIT */
/* What the command makes of any file it is to run (cli/elf.h). Input: the file. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/elf.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tp_elf elf, again; /* large */
	static int fd = -1;
	static char path[32];
	if (fd < 0) {
		fd = memfd_create("elf", MFD_CLOEXEC);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	}
	LAW(!ftruncate(fd, 0) && pwrite(fd, data, size, 0) == (ssize_t)size);
	memset(&elf, 0x5a, sizeof elf);
	LAW(tp_elf_read(path, &elf) && tp_elf_read(path, &again));
	LAW(!memcmp(&elf, &again, sizeof elf));
	LAW(memchr(elf.interpreter, '\0', sizeof elf.interpreter));
	LAW(!elf.is_elf || (size > 4 && !memcmp(data, "\177ELF", 4)));
	LAW(elf.is_elf ? elf.word_size == 32 || elf.word_size == 64 : !elf.word_size);
	LAW(elf.is_elf || (!elf.libc && !elf.go && !*elf.interpreter));
	LAW(tp_elf_same_machine(&elf, &again) && *tp_elf_machine_name(&elf));
	return 0;
}
