/* SPDX-License-Identifier: MIT */
#include "elf.h"

#include <elf.h>
#include <endian.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program.h"

#define SEGMENTS_MAX 128
#define DYNAMIC_MAX 512
#define NOTES_MAX 64

/* The parts of a program header that count, of either word size. */
struct segment {
	uint32_t type;
	uint64_t offset, address, size, align;
};

/* A file that is being read. */
struct reading {
	int fd;
	struct segment segments[SEGMENTS_MAX];
	size_t count;
};

static bool read_at(const struct reading *reading, uint64_t offset, void *to, size_t len)
{
	return offset <= INT64_MAX &&
	       pread(reading->fd, to, len, (off_t)offset) == (ssize_t)len;
}

/* Text up to its NUL, cut to size. */
static void read_text(const struct reading *reading, uint64_t offset, char *to,
		      size_t size)
{
	ssize_t n =
		offset <= INT64_MAX ? pread(reading->fd, to, size - 1, (off_t)offset) : 0;
	to[n > 0 ? n : 0] = '\0';
}

static void read_segments64(struct reading *reading, const Elf64_Ehdr *head)
{
	Elf64_Phdr segment;
	for (size_t i = 0; i < head->e_phnum && i < SEGMENTS_MAX; i++)
		if (read_at(reading, head->e_phoff + i * sizeof segment, &segment,
			    sizeof segment))
			reading->segments[reading->count++] = (struct segment){
				segment.p_type, segment.p_offset, segment.p_vaddr,
				segment.p_filesz, segment.p_align};
}

static void read_segments32(struct reading *reading, const Elf32_Ehdr *head)
{
	Elf32_Phdr segment;
	for (size_t i = 0; i < head->e_phnum && i < SEGMENTS_MAX; i++)
		if (read_at(reading, head->e_phoff + i * sizeof segment, &segment,
			    sizeof segment))
			reading->segments[reading->count++] = (struct segment){
				segment.p_type, segment.p_offset, segment.p_vaddr,
				segment.p_filesz, segment.p_align};
}

static uint64_t offset_of(const struct reading *reading, uint64_t address)
{
	for (size_t i = 0; i < reading->count; i++) {
		const struct segment *at = &reading->segments[i];
		if (at->type == PT_LOAD && address >= at->address &&
		    address - at->address < at->size)
			return at->offset + (address - at->address);
	}
	return UINT64_MAX;
}

static enum tp_libc libc_of_loader(const char *path)
{
	const char *name = tp_program_name(path);
	if (!strncmp(name, "ld-musl", strlen("ld-musl")))
		return TP_LIBC_MUSL;
	if (!strncmp(name, "ld-linux", strlen("ld-linux")) ||
	    !strncmp(name, "ld64.so", strlen("ld64.so")) || !strcmp(name, "ld.so.1"))
		return TP_LIBC_GLIBC;
	return TP_LIBC_UNKNOWN;
}

static enum tp_libc libc_of_library(const char *name)
{
	if (!strcmp(name, "libc.so.6"))
		return TP_LIBC_GLIBC;
	if (!strcmp(name, "libc.so") ||
	    !strncmp(name, "libc.musl-", strlen("libc.musl-")))
		return TP_LIBC_MUSL;
	return TP_LIBC_UNKNOWN;
}

/* The dynamic section as pairs of words of 64 bits; returns how many. */
static size_t read_dynamic(const struct reading *reading, const struct segment *segment,
			   bool wide, uint64_t pairs[DYNAMIC_MAX][2])
{
	size_t size = wide ? sizeof(Elf64_Dyn) : sizeof(Elf32_Dyn), count = 0;
	for (; count < DYNAMIC_MAX && (count + 1) * size <= segment->size; count++) {
		Elf64_Dyn wide_pair;
		Elf32_Dyn pair;
		uint64_t offset = segment->offset + count * size;
		if (!read_at(reading, offset, wide ? (void *)&wide_pair : &pair, size))
			break;
		pairs[count][0] = wide ? (uint64_t)wide_pair.d_tag : (uint64_t)pair.d_tag;
		pairs[count][1] = wide ? wide_pair.d_un.d_val : pair.d_un.d_val;
	}
	return count;
}

/* Which libc the file asks for among the libraries it needs. */
static enum tp_libc libc_of_needed(const struct reading *reading,
				   const struct segment *segment, bool wide)
{
	uint64_t pairs[DYNAMIC_MAX][2], strings = UINT64_MAX;
	size_t count = read_dynamic(reading, segment, wide, pairs);
	enum tp_libc libc = TP_LIBC_UNKNOWN;
	for (size_t i = 0; i < count; i++)
		if (pairs[i][0] == DT_STRTAB)
			strings = offset_of(reading, pairs[i][1]);
	for (size_t i = 0; i < count && strings != UINT64_MAX && !libc; i++) {
		char name[64];
		if (pairs[i][0] != DT_NEEDED)
			continue;
		read_text(reading, strings + pairs[i][1], name, sizeof name);
		libc = libc_of_library(name);
	}
	return libc;
}

struct note {
	uint32_t name_size, size, type;
	char name[4];
};

/* Where the note behind this one begins: its name and what it holds are filled up. */
static uint64_t next_note(uint64_t at, const struct note *note, uint64_t align)
{
	const uint64_t fill = align == 8 ? 7 : 3;
	at = (at + offsetof(struct note, name) + note->name_size + fill) & ~fill;
	return (at + note->size + fill) & ~fill;
}

/* Whether the notes hold Go's build ID: name "Go", type 4. */
static bool has_go_note(const struct reading *reading, const struct segment *segment)
{
	static const char go[4] = "Go";
	struct note note;
	uint64_t at = 0;
	for (size_t i = 0; i < NOTES_MAX && at + sizeof note <= segment->size; i++) {
		if (!read_at(reading, segment->offset + at, &note, sizeof note))
			break;
		if (note.name_size == sizeof go && note.type == 4 &&
		    !memcmp(note.name, go, sizeof go))
			return true;
		at = next_note(at, &note, segment->align);
	}
	return false;
}

static void read_contents(const struct reading *reading, struct tp_elf *elf)
{
	for (size_t i = 0; i < reading->count; i++) {
		const struct segment *at = &reading->segments[i];
		if (at->type == PT_INTERP) {
			read_text(reading, at->offset, elf->interpreter,
				  sizeof elf->interpreter);
			elf->libc = libc_of_loader(elf->interpreter);
		}
		if (at->type == PT_NOTE && has_go_note(reading, at))
			elf->go = true;
	}
	for (size_t i = 0; i < reading->count && !elf->libc; i++)
		if (reading->segments[i].type == PT_DYNAMIC)
			elf->libc = libc_of_needed(reading, &reading->segments[i],
						   elf->word_size == 64);
}

static void read_file(struct reading *reading, struct tp_elf *elf)
{
	union {
		Elf64_Ehdr wide; /* the largest, which {0} fills: a file may be shorter */
		Elf32_Ehdr narrow;
		unsigned char ident[EI_NIDENT];
	} head = {0};
	uint8_t own_order = __BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB;
	if (pread(reading->fd, &head, sizeof head, 0) < (ssize_t)sizeof head.narrow ||
	    memcmp(head.ident, ELFMAG, SELFMAG))
		return;
	bool wide = head.ident[EI_CLASS] == ELFCLASS64;
	elf->is_elf = true;
	elf->word_size = wide ? 64 : 32;
	elf->byte_order = head.ident[EI_DATA];
	elf->machine = head.wide.e_machine; /* at the same place in both */
	if (elf->byte_order != own_order) {
		elf->machine = (uint16_t)(elf->machine << 8 | elf->machine >> 8);
		return;
	}
	if (wide)
		read_segments64(reading, &head.wide);
	else
		read_segments32(reading, &head.narrow);
	read_contents(reading, elf);
}

bool tp_elf_read(const char *path, struct tp_elf *elf)
{
	struct reading reading = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
	*elf = (struct tp_elf){0};
	if (reading.fd < 0)
		return false;
	read_file(&reading, elf);
	close(reading.fd);
	return true;
}

bool tp_elf_same_machine(const struct tp_elf *one, const struct tp_elf *other)
{
	return one->machine == other->machine && one->word_size == other->word_size &&
	       one->byte_order == other->byte_order;
}

const char *tp_elf_machine_name(const struct tp_elf *elf)
{
	static const struct {
		uint16_t machine;
		const char *name;
	} names[] = {
		{EM_386, "i386"},	 {EM_X86_64, "x86-64"},	      {EM_ARM, "arm"},
		{EM_AARCH64, "arm64"},	 {EM_RISCV, "riscv"},	      {EM_PPC, "powerpc"},
		{EM_PPC64, "powerpc64"}, {EM_S390, "s390"},	      {EM_MIPS, "mips"},
		{EM_SPARCV9, "sparc64"}, {EM_LOONGARCH, "loongarch"},
	};
	static _Thread_local char text[48];
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (names[i].machine != elf->machine)
			continue;
		snprintf(text, sizeof text, "%s, %u bits", names[i].name, elf->word_size);
		return text;
	}
	snprintf(text, sizeof text, "machine %u, %u bits", elf->machine, elf->word_size);
	return text;
}
