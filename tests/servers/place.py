# SPDX-License-Identifier: MIT
"""Where a daemon lives for one start: a root folder of its own over Debian's packages, a network of
its own with the addresses below, and a process namespace, which ends with everything in it."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import harness
import pytest
from harness import eventually, listens
from recipes import RECIPES

SERVER4, SERVER6 = "10.0.0.21", "fd00::21"
BALANCER4, BALANCER6 = "10.0.0.5", "fd00::5"
OTHER4 = "10.0.0.6"  # another balancer
STRANGER4, STRANGER6 = "192.0.2.99", "2001:db8:bad::9"
CLIENTS4, CLIENTS6 = "203.0.113.{}", "2001:db8::{}"
CLIENTS = range(1, 60)  # what the {} may be

LIBRARIES = "/usr/local/lib/truepeer"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# systemd in a container; what it could change of the kernel's settings is read-only.
BOOT = """\
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i container=other /lib/systemd/systemd --system --unit="$1" --log-target=console >&2
"""


def enter_network():
    """Where no server of the machine is met, and look-ups of names and idents fail at once."""
    lines = [f"addr add {ip}/32 dev lo" for ip in (SERVER4, BALANCER4, OTHER4, STRANGER4)]
    lines += [f"addr add {CLIENTS4.format(i)}/32 dev lo" for i in CLIENTS]
    lines += [f"addr add {ip}/128 dev lo nodad" for ip in (SERVER6, BALANCER6, STRANGER6)]
    lines += [f"addr add {CLIENTS6.format(i)}/128 dev lo nodad" for i in CLIENTS]
    harness.enter_network(lines)


class Syslog(threading.Thread):
    """The system log: what is sent to a root's /dev/log goes to its /var/log/syslog."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(root / "dev/log"))
        (root / "dev/log").chmod(0o666)
        self.file = open(root / "var/log/syslog", "ab", buffering=0)
        self.start()

    def run(self):
        while line := self.socket.recv(65536):
            self.file.write(line.rstrip(b"\n\0") + b"\n")

    def stop(self):
        self.socket.shutdown(socket.SHUT_RD)
        self.join(harness.PATIENCE)
        self.socket.close()
        self.file.close()


class Place:
    """with Place(folder, daemon, six, plain) as place: write files, start the daemon.

    place.listen is the address to listen on, place.six tells whether it is IPv6 (with IPv4
    through it); place.variables is the environment it starts with."""

    def __init__(self, folder, daemon, six, plain, **variables):
        self.folder, self.root = folder, folder / "root"
        self.variant, self.port, self.six, self.plain = daemon.variant, daemon.port, six, plain
        self.extra = {k: v for k, v in variables.items() if v is not None and not plain}
        self.listen = "::" if six else "0.0.0.0"
        self.program, self.stack = None, contextlib.ExitStack()
        self.mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)  # an overlay may not lie on another
        for made in ("root", "upper", "work"):
            (folder / made).mkdir()
        options = f"lowerdir={':'.join(map(str, daemon.layers()))},upperdir={folder}/upper,workdir={folder}/work"
        self.mount("-t", "overlay", "-o", options, "overlay", self.root)
        self.mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", self.root / "dev")
        self.make_devices()
        for made in ("tmp", "run"):
            self.mount("-t", "tmpfs", "-o", f"mode={'1777' if made == 'tmp' else '755'}", "tmpfs", self.root / made)
        self.path("/run/lock").mkdir(mode=0o1777)
        self.write("/etc/resolv.conf", "")
        self.write("/etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{SERVER4} server.test {socket.gethostname()}\n")
        self.write("/var/log/syslog", "")
        self.syslog = Syslog(self.root)
        self.stack.callback(self.syslog.stop)
        self.variables = {} if plain else self.preload()

    def mount(self, *words):
        subprocess.run(["mount", *map(str, words)], check=True)
        self.stack.callback(subprocess.run, ["umount", "--lazy", str(words[-1])], check=True)

    def make_devices(self):
        for name in ("null", "zero", "full", "random", "urandom", "tty"):
            (self.root / "dev" / name).touch()
            self.mount("--bind", f"/dev/{name}", self.root / "dev" / name)
        for name in ("shm", "pts"):
            (self.root / "dev" / name).mkdir()
        (self.root / "dev/shm").chmod(0o1777)
        self.mount("-t", "devpts", "-o", "newinstance,ptmxmode=666", "devpts", self.root / "dev/pts")
        for name, target in {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
                             "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}.items():
            (self.root / "dev" / name).symlink_to(target)

    def preload(self):
        """Installs the library; returns the environment that loads it."""
        if harness.REPORTS:
            self.write(harness.REPORTS, "")
            self.mount("--bind", harness.REPORTS, self.path(harness.REPORTS))
        self.path(LIBRARIES).mkdir(parents=True, exist_ok=True)
        copies = [shutil.copy(library, self.path(LIBRARIES)) for library in [harness.LIBRARY, *harness.RUNTIME]]
        self.preloaded = ":".join(f"{LIBRARIES}/{Path(copy).name}" for copy in copies)
        variables = {f"TRUEPEER_{name}": value for name, value in self.extra.items()}
        return {"LD_PRELOAD": self.preloaded,
                "TRUEPEER_TRUST": f"{BALANCER4},{OTHER4},{BALANCER6}", **variables}

    @staticmethod
    def reads_rules():
        """Whether the library knows the rules file, which alone counts in secure execution."""
        return b"/etc/truepeer.rules" in Path(harness.LIBRARY).read_bytes()

    def install_for_secure_execution(self):
        """Where ld.so(8) takes it from for set-ID programs: a system folder, with the set-user-ID bit.
        There no variable is believed but the rules file, which is root's."""
        if not self.plain:
            system = subprocess.run(["cc", "-print-multiarch"], capture_output=True, text=True, check=True).stdout
            copy = shutil.copy(harness.LIBRARY, self.path(f"/usr/lib/{system.strip()}"))
            Path(copy).chmod(0o4755)
            self.variables["LD_PRELOAD"] = Path(copy).name
            self.write("/etc/truepeer.rules", f"listen {self.port} from {BALANCER4},{OTHER4},{BALANCER6}\n")

    def path(self, name):
        return self.root / name.lstrip("/")

    def write(self, name, text, mode=0o644):
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return name

    def recipe(self, name):
        """The text that the manual gives; none for a daemon that starts without the library."""
        return "" if self.plain else RECIPES[name].replace(f"{LIBRARIES}/libtruepeer.so", self.preloaded)

    def use_unit(self, name):
        """Takes the environment from the manual's drop-in for a service of systemd, and nothing else."""
        if text := self.recipe(name):
            settings = [line.removeprefix("Environment=") for line in text.splitlines()[1:]]
            assert text.startswith("[Service]\n")
            self.variables = dict(shlex.split(setting)[0].split("=", 1) for setting in settings)
            self.variables.update((f"TRUEPEER_{name}", value) for name, value in self.extra.items())

    def also(self, form):
        """What this run sets beside a recipe, each variable in that form: name, value."""
        return "".join(form.format(name, value) for name, value in self.extra.items())

    def run(self, *argv, **options):
        """A command that prepares something, without the library."""
        done = subprocess.run(["chroot", self.root, *map(str, argv)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=120, check=False,
                              env={"PATH": PATH, "LC_ALL": "C", "HOME": "/root"}, **options)
        assert not done.returncode, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, argv, ready=""):
        """Starts the daemon, which stays in the foreground, and waits until it listens and has said
        that it is ready."""
        environment = {"PATH": PATH, "LC_ALL": "C", "HOME": "/root", **self.variables}
        words = [f"{name}={value}" for name, value in environment.items()]
        shell = ["sh", "-c", '"$@" >&2; exit $?', "sh", "env", "-i"]  # the shell is the namespace's init
        self.enter(["unshare"], [*shell, *words, *argv], ready)

    def boot(self, unit):
        """Starts a unit by systemd, as the first process, in a control group that it may divide."""
        group = self.make_group()
        boot = ["sh", "-ec", BOOT, "sh", unit]
        self.enter(["sh", "-ec", 'echo $$ >"$0/cgroup.procs"; exec unshare --cgroup --uts --ipc "$@"', group], boot)

    def make_group(self):
        mounted = re.search(r"^cgroup2 (\S+) cgroup2 ", Path("/proc/mounts").read_text(), re.M)
        if not mounted:
            pytest.skip("no control groups (cgroup2) here")
        group = Path(mounted[1]) / f"truepeer.{os.getpid()}"
        group.mkdir()

        def empty():
            return "populated 0" in (group / "cgroup.events").read_text()

        def remove():
            eventually(empty, "the control group is empty")
            for inner in sorted(group.rglob("*/"), reverse=True):
                inner.rmdir()
            group.rmdir()
        self.stack.callback(remove)
        return group

    def enter(self, unshare, first, ready=""):
        """Runs the first process of new namespaces, and waits until the daemon listens."""
        flags = ["--mount", "--pid", "--fork", "--kill-child", f"--root={self.root}", "--mount-proc"]
        self.program = harness.Program([*unshare, *flags, *first], {"PATH": PATH}, self.folder)
        self.stack.callback(self.stop)
        try:
            eventually(lambda: listens(self.port) and re.search(ready, self.told()) or self.ended(), "ready")
            assert not self.ended(), "it has ended"
        except AssertionError as error:
            raise AssertionError(f"{error}: {first[-3:]}\n{self.told()}") from None

    def ended(self):
        return self.program.process.poll() is not None

    def signal(self, name, pid):
        """To a process of the daemon's, by its number in there."""
        inside = f"--pid=/proc/{self.program.pid}/ns/pid_for_children"
        subprocess.run(["nsenter", inside, "sh", "-c", 'kill -s "$0" "$1"', name, str(pid)], check=True)

    def stop(self):
        """Ends the namespace's first process; the kernel ends the rest."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.program.pid, signal.SIGKILL)
        self.program.stop()
        eventually(lambda: not listens(self.port), f"port {self.port} is free again")

    def logs(self):
        """What the daemon said, and the system log."""
        files = [self.program.log] if self.program else []
        return [file.read_text(errors="replace") for file in (*files, self.path("/var/log/syslog"))]

    def told(self):
        return "".join(self.logs())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)
