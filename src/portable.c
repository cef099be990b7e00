/* SPDX-License-Identifier: MIT */
#include "portable.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#undef dlsym
#undef fstat
#undef pthread_atfork

#define WEAK __attribute__((weak))

_Static_assert(sizeof(long) == 8,
	       "libcs agree on their structures on 64-bit systems only");

/* Before glibc 2.34 dlsym was in libdl, which a program may not have loaded; its libc
 * had these for its own use. */
WEAK void *dlsym(void *handle, const char *name);
WEAK void *__libc_dlopen_mode(const char *name, int mode);
WEAK void *__libc_dlsym(void *handle, const char *name);
#define LIBC_DLOPEN 0x80000000 /* __RTLD_DLOPEN */

/* glibc has no pthread_atfork to be found at run time, musl no __register_atfork. */
WEAK int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);
WEAK int pthread_atfork(void (*)(void), void (*)(void), void (*)(void));

/* What pthread_cleanup_push was and, in musl, is made of. In libpthread before 2.34: a
 * program without it cancels no threads. */
WEAK void _pthread_cleanup_push(struct tp_portable_cleanup *, void (*)(void *), void *);
WEAK void _pthread_cleanup_pop(struct tp_portable_cleanup *, int);

typedef void *dlsym_function(void *, const char *);

static dlsym_function *find_dlsym(void)
{
	dlsym_function *found = dlsym;
	if (found || !__libc_dlopen_mode || !__libc_dlsym)
		return found;
	void *libdl = __libc_dlopen_mode("libdl.so.2", (int)(RTLD_NOW | LIBC_DLOPEN));
	void *symbol = libdl ? __libc_dlsym(libdl, "dlsym") : NULL;
	memcpy(&found, &symbol, sizeof found);
	return found;
}

void *tp_portable_dlsym(void *handle, const char *name)
{
	dlsym_function *found = find_dlsym();
	void *symbol = found ? found(handle, name) : NULL;
	return symbol; /* not a jump: RTLD_NEXT goes by who calls */
}

/* A symbol since glibc 2.33. The kernel's struct is that of both libcs. */
int tp_portable_fstat(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}

int tp_portable_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (__register_atfork)
		return __register_atfork(prepare, parent, child, NULL);
	return pthread_atfork ? pthread_atfork(prepare, parent, child) : 0;
}

int tp_portable_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	int saved = errno, error = sigprocmask(how, set, old) ? errno : 0;
	errno = saved;
	return error;
}

void tp_portable_cleanup_push(struct tp_portable_cleanup *room, void (*clean)(void *),
			      void *argument)
{
	if (_pthread_cleanup_push && _pthread_cleanup_pop)
		_pthread_cleanup_push(room, clean, argument);
}

void tp_portable_cleanup_pop(struct tp_portable_cleanup *room, int run)
{
	if (_pthread_cleanup_push && _pthread_cleanup_pop)
		_pthread_cleanup_pop(room, run);
}
