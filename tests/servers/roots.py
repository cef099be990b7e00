# SPDX-License-Identifier: MIT
"""Root folders with Debian's packages in them, kept between runs: one base, and over it a
layer for each set of packages, so that packages that conflict never meet, and the machine's own
packages stay as they are.  As a program, roots.py FOLDER PACKAGES...: makes one such layer."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

# A process namespace ends what a package starts in spite of policy-rc.d.
INSTALL = """\
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
mount -t proc proc "$4/proc"
mount --rbind /dev "$4/dev"
mount --bind "$5" "$4/var/cache/apt/archives"
root=$4
shift 5
chroot "$root" apt-get -q -y --no-install-recommends -o Dir::Cache::pkgcache= \
    -o Dir::Cache::srcpkgcache= install "$@"
"""


def run(log, *command):
    with open(log, "ab") as out:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C",
                                   "DEBIAN_FRONTEND": "noninteractive"}, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed ({' '.join(map(str, command[-3:]))}): see {log}")


class Roots:
    """The layers in a folder, which are made when they are first asked for."""

    def __init__(self, folder):
        self.folder = Path(folder).resolve()

    def base(self):
        base, new = self.folder / "base", self.folder / "base.new"
        if not base.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(new, ignore_errors=True)
            log = self.folder / "base.log"
            suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
            run(log, "debootstrap", "--variant=minbase", suite, new)
            policy = new / "usr/sbin/policy-rc.d"
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
            run(log, "chroot", new, "apt-get", "clean")
            new.rename(base)
        return base

    def layers(self, packages):
        """The folders that make up a root with these packages, the topmost first."""
        base, layer = self.base(), self.folder / "+".join(sorted(packages))
        if not layer.exists():
            new, mounts, archives = (self.folder / name for name in ("layer.new", "mounts", "archives"))
            for made in new, mounts:
                shutil.rmtree(made, ignore_errors=True)
            for made in new, mounts / "work", mounts / "root", archives / "partial":
                made.mkdir(parents=True, exist_ok=True)
            run(layer.with_suffix(".log"), "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec",
                INSTALL, "sh", base, new, mounts / "work", mounts / "root", archives, *packages)
            new.rename(layer)
        return [layer, base]


if __name__ == "__main__":
    Roots(sys.argv[1]).layers(sys.argv[2:])
