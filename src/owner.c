/* SPDX-License-Identifier: MIT */
#include "owner.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* The owner's pid, on a page that fork and clone wipe. */
static _Atomic(_Atomic pid_t *) owner;

void tp_owner_mark(void)
{
	if (atomic_load(&owner))
		return;
	size_t bytes = sizeof(pid_t);
	_Atomic pid_t *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	if (madvise((void *)page, bytes, MADV_WIPEONFORK)) { /* Linux 4.14 */
		munmap((void *)page, bytes);
		return;
	}
	atomic_store(page, getpid());
	atomic_store(&owner, page);
}

bool tp_owner_is_copy(void)
{
	_Atomic pid_t *page = atomic_load(&owner);
	return page && !atomic_load(page);
}

void tp_owner_settle(void)
{
	_Atomic pid_t *page = atomic_load(&owner);
	if (page)
		atomic_store(page, getpid());
}

bool tp_owner_is_borrowed(void)
{
	_Atomic pid_t *page = atomic_load(&owner);
	return page && atomic_load(page) && atomic_load(page) != getpid();
}
