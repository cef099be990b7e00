# SPDX-License-Identifier: MIT
"""The packages of scripts/package: what is in them, and how they come and go in a root of their own."""

import os
import subprocess
from pathlib import Path

import pytest

from harness import HERE, ask, compiled, environment, find, name, private_mounts, unsanitized, v1

TOP = HERE.parents[1]
pytestmark = unsanitized("packages are built without")
PRELOAD = "/usr/$LIB/truepeer/libtruepeer.so"
CLIENT, BALANCER = name("203.0.113.7", 56324), "inet 127.0.0.1 "
FILES = """bin/truepeer include/truepeer.h share/bash-completion/completions/truepeer share/doc/truepeer/copyright
share/man/man1/truepeer.1.gz share/man/man3/truepeer_get.3.gz share/man/man7/truepeer-servers.7.gz
share/man/man7/truepeer.7.gz""".split()

# What an older release may have been: a library of its own, and a file that is gone since.
OLDER_DEB = """\
Package: truepeer
Version: 0.0.9
Architecture: all
Maintainer: nobody
Description: older
"""
OLDER_RPM = """\
Name: truepeer
Version: 0.0.9
Release: 1
Summary: Older
License: MIT
%description
Older.
%install
cp -R '{files}/usr' %{{buildroot}}
%files
%dir {libdir}/truepeer
{libdir}/truepeer/*
"""


def output(*command, **how):
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **how)
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


class Deb:
    libdir = None  # asked for in need()

    def __init__(self, root):
        self.root = root
        for folder in "var/lib/dpkg/updates", "var/lib/dpkg/info", "var/log":
            (root / folder).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()

    @classmethod
    def need(cls):
        find("dpkg-deb", "dpkg")
        find("dpkg-shlibdeps", "dpkg-dev")
        cls.libdir = f"/usr/lib/{output('dpkg-architecture', '-qDEB_HOST_MULTIARCH').strip()}"

    @staticmethod
    def files(package):
        lines = output("dpkg-deb", "--contents", package).splitlines()
        assert all(line.split()[1] == "root/root" for line in lines)
        return {line.split()[5][1:] for line in lines if line[0] != "d"}

    @classmethod
    def older(cls, folder):
        (folder / "DEBIAN").mkdir()
        (folder / "DEBIAN/control").write_text(OLDER_DEB)
        output("dpkg-deb", "--build", folder, folder.parent / "older.deb")
        return folder.parent / "older.deb"

    def dpkg(self, *options):
        # Its libc6 is outside of the root.
        return output("dpkg", f"--root={self.root}", "--force-depends", *options)

    def install(self, package):
        self.dpkg("--install", package)

    def remove(self):
        self.dpkg("--remove", "truepeer")

    def version(self):
        return output("dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f", "${Version}", "truepeer")

    def verify(self):
        return self.dpkg("--verify", "truepeer")


class Rpm:
    libdir = "/usr/lib64" if os.sysconf("SC_LONG_BIT") == 64 else "/usr/lib"

    def __init__(self, root):
        self.root = root

    @staticmethod
    def need():
        find("rpmbuild", "rpm")

    @staticmethod
    def files(package):
        lines = output("rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]", package).splitlines()
        assert all(line.split()[1] == "root" for line in lines)
        return {line.split()[2] for line in lines if line[0] != "d"}

    @classmethod
    def older(cls, folder):
        spec = folder.parent / "older.spec"
        spec.write_text(OLDER_RPM.format(files=folder, libdir=cls.libdir))
        output("rpmbuild", "-bb", "--define", f"_topdir {folder.parent}/older", "--define",
               "_rpmfilename older.rpm", "--define", f"_rpmdir {folder.parent}", spec)
        return folder.parent / "older.rpm"

    def rpm(self, *options):
        return output("rpm", "--root", self.root, *options)

    def install(self, package):
        self.rpm("--upgrade", "--nodeps", package)

    def remove(self):
        self.rpm("--erase", "truepeer")

    def version(self):
        return self.rpm("--query", "--qf", "%{VERSION}", "truepeer")

    def verify(self):
        return self.rpm("--verify", "--nodeps", "truepeer")


@pytest.fixture(scope="module", params=[Deb, Rpm], ids=["deb", "rpm"])
def kind(request):
    if os.geteuid():
        pytest.skip("packages are installed by root")
    find("autoreconf", "autoconf")
    find("libtoolize", "libtool")
    request.param.need()
    return request.param


@pytest.fixture(scope="module")
def package(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    env = {k: v for k, v in environment(plain=True).items() if k not in ("CC", "CFLAGS", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run([TOP / "scripts/package", kind.__name__.lower(), folder], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = Path(done.stdout.rstrip("\n"))
    assert [made] == list(folder.iterdir())
    return made


@pytest.fixture
def system(kind, open_folder):
    root = open_folder / "root"
    root.mkdir()
    return kind(root)


def ours(root):
    """What is left of ours, folders with our name included."""
    return sorted(str(path) for path in (root / "usr").rglob("*") if path.is_file() or path.name == "truepeer")


def server_in(root, run, program):
    """The server, with a root's /usr over that of the machine."""
    script = 'mount -t overlay overlay -o "lowerdir=$0/usr:/usr" /usr; exec env "LD_PRELOAD=$1" "$2" loop'
    env = {**environment(plain=True), "TRUEPEER_TRUST": "loopback"}
    return run([*private_mounts(), "sh", "-ec", script, root, PRELOAD, program], env).listening()


def test_package_holds_what_is_used_and_nothing_else(kind, package):
    libdir = kind.libdir
    assert kind.files(package) == {f"/usr/{file}" for file in FILES} | {
        f"{libdir}/pkgconfig/truepeer.pc", f"{libdir}/truepeer/libtruepeer.so"}


def test_package_installs_and_leaves_nothing(system, package):
    system.install(package)
    assert len(ours(system.root)) > len(FILES) and system.verify() == ""
    system.remove()
    assert ours(system.root) == []


def test_package_takes_the_place_of_an_older_one(system, package, tmp_path):
    library = f"{system.libdir}/truepeer/libtruepeer.so"
    files = tmp_path / "older-files"
    for path in library, f"{system.libdir}/truepeer/gone":
        file = files / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("older")
    system.install(system.older(files))
    installed = system.root / library[1:]
    assert installed.read_text() == "older"
    # A server that runs keeps the file that it has mapped: the new one is another.
    with open(installed, encoding="ascii") as mapped:
        system.install(package)
        assert mapped.read() == "older" and installed.read_bytes()[:4] == b"\x7fELF"
    assert system.version() != "0.0.9" and system.verify() == ""
    assert not (installed.parent / "gone").exists()
    system.remove()
    assert ours(system.root) == []


@pytest.mark.parametrize("kind", [Deb], ids=["deb"], indirect=True)
def test_installed_library_serves_both_word_sizes(system, package, run, server_path, tmp_path):
    system.install(package)
    programs = [server_path]
    if os.path.exists("/usr/lib32/crt1.o"):  # gcc-multilib; lib32 is what $LIB is to its loader
        library = system.root / "usr/lib32/truepeer/libtruepeer.so"
        library.parent.mkdir(parents=True)
        sources = [path for path in (TOP / "src").glob("*.c") if path.name != "portable.c"]
        output("cc", "-m32", "-std=gnu11", "-D_GNU_SOURCE", '-DPACKAGE_VERSION="0"', "-fPIC", "-shared", "-o", library,
               *sources)
        programs.append(compiled("NO_SUCH", "server.c", tmp_path, "-m32"))
    for program in programs:
        server = server_in(system.root, run, program)
        assert ask(server.port, v1(), b"hello").peer == CLIENT
        assert "preload" not in server.stderr
    system.remove()
    server = server_in(system.root, run, server_path)
    answer = ask(server.port, v1(), b"hello")
    assert answer.peer.startswith(BALANCER) and answer.payload == v1() + b"hello"
    assert "cannot be preloaded" in server.stderr
