/* SPDX-License-Identifier: MIT */
/* What an ELF file is: for whom it was made, and who loads it. */
#ifndef TP_ELF_H
#define TP_ELF_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum tp_libc { TP_LIBC_UNKNOWN, TP_LIBC_GLIBC, TP_LIBC_MUSL };

struct tp_elf {
	bool is_elf;
	uint8_t word_size;	    /* 32 or 64 */
	uint8_t byte_order;	    /* ELFDATA2LSB, ELFDATA2MSB */
	uint16_t machine;	    /* EM_X86_64, ... */
	char interpreter[PATH_MAX]; /* the loader; empty: statically linked, or a library
				     */
	enum tp_libc libc;	    /* by the loader, else by the libraries it needs */
	bool go;		    /* made by the Go compiler */
};

/*
 * Reads the file. False and errno when it cannot be read; a file that is no ELF, or a
 * broken one, is no error: is_elf says it. Trusts nothing in the file.
 */
bool tp_elf_read(const char *path, struct tp_elf *elf);

/* Whether the loader of the one can load the other. */
bool tp_elf_same_machine(const struct tp_elf *one, const struct tp_elf *other);

/* "x86-64", "i386", "machine 243", ... in a static buffer of the caller's thread. */
const char *tp_elf_machine_name(const struct tp_elf *elf);

#endif
