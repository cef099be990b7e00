/* SPDX-License-Identifier: MIT */
/*
 * For --enable-portable: one file for every libc, glibc from 2.17 and musl, on 64-bit
 * systems. It names no library that it needs and no version of a symbol; what the two
 * have under different names, or in different places, is found here. Included before
 * everything else.
 */
#ifndef TP_PORTABLE_H
#define TP_PORTABLE_H

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

/* As the functions of these names. All but tp_portable_dlsym are safe in threads and
 * signal handlers; that one is as safe as dlsym. */
void *tp_portable_dlsym(void *handle, const char *name);
int tp_portable_fstat(int fd, struct stat *st);
int tp_portable_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
/* Before glibc 2.32 only libpthread had it; on Linux sigprocmask is of the thread as
 * well. */
int tp_portable_sigmask(int how, const sigset_t *set, sigset_t *old);

/* Room for what either libc keeps here; both have the functions, but not in a header. */
struct tp_portable_cleanup {
	void *room[8];
};
void tp_portable_cleanup_push(struct tp_portable_cleanup *, void (*)(void *), void *);
void tp_portable_cleanup_pop(struct tp_portable_cleanup *, int run);

#define dlsym tp_portable_dlsym
#define fstat tp_portable_fstat
#define pthread_atfork tp_portable_atfork
#define pthread_sigmask tp_portable_sigmask
#undef pthread_cleanup_push
#define pthread_cleanup_push(function, argument)                                         \
	do {                                                                             \
		struct tp_portable_cleanup tp_cleanup;                                   \
		void (*const tp_clean)(void *) = (function);                             \
		void *const tp_cleaned = (argument);                                     \
	tp_portable_cleanup_push(&tp_cleanup, tp_clean, tp_cleaned)
#undef pthread_cleanup_pop
#define pthread_cleanup_pop(run)                                                         \
	tp_portable_cleanup_pop(&tp_cleanup, 0);                                         \
	if (run)                                                                         \
		tp_clean(tp_cleaned);                                                    \
	}                                                                                \
	while (0)

#endif
