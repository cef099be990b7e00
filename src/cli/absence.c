/* SPDX-License-Identifier: MIT */
#include "absence.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "executable.h"

static const char gain_nothing[] =
	"take the bit or the capabilities off the file, and start it as the user it "
	"needs to be";
static const char start_with_run[] =
	"start the server with truepeer run, see truepeer(1)";

/* What /proc/PID/exe leads to, whatever it is called there. */
static void examine_binary(const struct tp_diagnosis *diagnosis,
			   const struct tp_process *process)
{
	struct tp_elf elf;
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/exe", process->pid);
	if (tp_elf_read(path, &elf))
		tp_executable_examine(process->exe, &elf, &diagnosis->library->elf,
				      diagnosis->findings);
	if (process->secure)
		tp_finding_add(diagnosis->findings, "setuid", gain_nothing,
			       "%s gained privileges when it started (setuid, setgid or "
			       "file capabilities): the loader ignores LD_PRELOAD then",
			       tp_finding_quote(process->exe));
}

/* The entry for our library in an LD_PRELOAD; false when there is none. */
static bool find_entry(const char *preload, char entry[PATH_MAX])
{
	for (; preload && *preload; preload += !!*preload) {
		size_t len = strcspn(preload, ": ");
		if (tp_library_is_named(preload, len)) {
			snprintf(entry, PATH_MAX, "%.*s", (int)len, preload);
			return true;
		}
		preload += len;
	}
	return false;
}

/* LD_PRELOAD names the library, but the loader did not take it. */
static void examine_entry(const struct tp_diagnosis *diagnosis,
			  const struct tp_process *process, const char *entry)
{
	struct tp_elf elf, library;
	char path[PATH_MAX], exe[64];
	const char *name = tp_finding_quote(entry);
	tp_process_path(process->pid, entry, path);
	snprintf(exe, sizeof exe, "/proc/%d/exe", process->pid);
	if (*entry == '/' && !tp_elf_read(path, &library))
		tp_finding_add(diagnosis->findings, "library-missing",
			       "install the library there, readable to all (also within "
			       "a container or chroot), and restart the server",
			       "LD_PRELOAD names %s, but the process finds: %s", name,
			       strerror(errno));
	else if (*entry == '/' && library.is_elf && tp_elf_read(exe, &elf))
		tp_executable_examine(process->exe, &elf, &library, diagnosis->findings);
	tp_finding_add(diagnosis->findings, "not-mapped",
		       "restart the server, and look for messages of the loader (ld.so) "
		       "on its standard error",
		       "LD_PRELOAD names %s, but the process has not loaded it", name);
}

/* The next process up that has the library, or its name in the environment (where the
 * program is a static one); 0: none that we may see. */
static pid_t find_starter(const struct tp_process *process)
{
	char entry[PATH_MAX];
	pid_t pid = process->parent, found = 0;
	for (int depth = 0; pid > 0 && !found && depth < 32; depth++) {
		struct tp_process starter;
		if (tp_process_read(pid, &starter))
			break;
		if (starter.library_count ||
		    find_entry(tp_process_variable(&starter, "LD_PRELOAD"), entry))
			found = pid;
		tp_process_free(&starter);
		pid = tp_process_parent(pid);
	}
	return found;
}

static void examine_environment(const struct tp_diagnosis *diagnosis,
				const struct tp_process *process)
{
	char unit[NAME_MAX + 1];
	if (find_starter(process))
		tp_finding_add(diagnosis->findings, "scrubbed",
			       "let the starter pass LD_PRELOAD and TRUEPEER_* on: "
			       "import_environment in postfix and dovecot, env_keep in "
			       "sudo, env in daemontools, ...",
			       "the library is not mapped in %s: a process above it was "
			       "started with LD_PRELOAD, but the environment was cleared "
			       "on the way",
			       tp_finding_quote(process->exe));
	else if (tp_process_unit(process->pid, unit))
		tp_finding_add(diagnosis->findings, "unit",
			       "truepeer run --trust PREFIX --systemd UNIT prints a "
			       "drop-in for the unit",
			       "the library is not mapped in %s: the systemd unit %s "
			       "starts it without LD_PRELOAD",
			       tp_finding_quote(process->exe), tp_finding_quote(unit));
	else
		tp_finding_add(diagnosis->findings, "not-preloaded", start_with_run,
			       "the library is not mapped in %s: it was started without "
			       "LD_PRELOAD",
			       tp_finding_quote(process->exe));
}

void tp_absence_explain(const struct tp_diagnosis *diagnosis,
			const struct tp_process *process)
{
	char entry[PATH_MAX];
	size_t before = diagnosis->findings->count;
	examine_binary(diagnosis, process);
	if (diagnosis->findings->count > before)
		return;
	if (find_entry(tp_process_variable(process, "LD_PRELOAD"), entry))
		examine_entry(diagnosis, process, entry);
	else
		examine_environment(diagnosis, process);
}
