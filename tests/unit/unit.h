/* SPDX-License-Identifier: MIT */
/* What the unit tests share. */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Runs a test once for each entry of its table. */
#define tcase_add_table(tcase, test, table)                                              \
	tcase_add_loop_test(tcase, test, 0, (int)COUNT(table))

#define FLUSH_MAX ((size_t)128 * 1024)
#define UNREADABLE ((size_t)64 * 1024) /* a whole number of pages everywhere */

/* `size` bytes that end right before an unreadable page; good until the next call. */
static inline void *flush_room(size_t size)
{
	static uint8_t *room;
	if (!room) {
		room = mmap(NULL, FLUSH_MAX + UNREADABLE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ck_assert(room != MAP_FAILED);
		ck_assert_int_eq(mprotect(room + FLUSH_MAX, UNREADABLE, PROT_NONE), 0);
	}
	ck_assert_uint_le(size, FLUSH_MAX);
	return room + FLUSH_MAX - size;
}

/* A copy of the bytes in such a place. */
static inline void *flush_copy(const void *bytes, size_t size)
{
	return memmove(flush_room(size), bytes, size);
}

/* Random numbers that are the same in each run (SplitMix64). */
static inline uint64_t draw(void)
{
	static uint64_t state = 2026;
	uint64_t z = state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* From 0 to end - 1. */
static inline size_t draw_below(size_t end)
{
	return draw() % end;
}

static inline void draw_bytes(void *bytes, size_t size)
{
	for (uint8_t *at = bytes; size; size--)
		*at++ = (uint8_t)draw();
}

#ifdef __SANITIZE_MEMORY__
#include <sanitizer/msan_interface.h>
#include <stdio.h>

/* In place of the sanitizer's own: Check is built without, so that what Check writes by
 * fwrite would pass for uninitialized. */
size_t fwrite(const void *items, size_t size, size_t count, FILE *file)
{
	__msan_unpoison(items, size * count);
	flockfile(file);
	size_t n = fwrite_unlocked(items, size, count, file);
	funlockfile(file);
	return n;
}
#endif

/* Runs the tests, ends the program's main. */
static inline int run_tests(const char *name, TCase *tcase)
{
	Suite *suite = suite_create(name);
	tcase_set_timeout(tcase, 60);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
