# SPDX-License-Identifier: MIT
"""How the library gets into programs: some by name, twice, as another version, in secure execution."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import harness
from harness import HERE, PATIENCE, ask, connect, environment, exchange, find, name, parse, v1, v2

CLIENT = "inet 203.0.113.7 56324"
SECOND = v1("198.51.100.9")


def copy_of_library(path, layout=None):
    """A copy, perhaps of another version, which keeps its records in another layout."""
    code = Path(harness.LIBRARY).read_bytes()
    if layout:
        tag = bytes.fromhex("d37e915ac42be8")
        assert tag + b"\x01" in code
        code = code.replace(tag + b"\x01", tag + bytes([layout]))
    made = path.with_name(path.name + ".new")
    made.write_bytes(code)
    made.rename(path)  # as install does: the programs that run keep the file they have
    return path


def preloaded(*libraries, **variables):
    """An environment with these in the library's place."""
    env = environment(**variables)
    env["LD_PRELOAD"] = " ".join([*map(str, libraries), *harness.RUNTIME])
    return env


alone = harness.unsanitized("the loader takes the library alone, without the runtime")


def is_untouched(port, *data):
    with connect(port) as client:
        answer = parse(exchange(client, *data))
        return answer.peer == name(client.getsockname()) and answer.payload == b"".join(data)


# ---- TRUEPEER_PROGRAMS ----

@pytest.mark.parametrize("programs", ["server", "server vsftpd", "vsftpd,server", "", None])
def test_library_acts_in_the_programs_that_are_listed(serve, programs):
    assert ask(serve("loop", PROGRAMS=programs).port, v1(), b"payload") == (CLIENT, CLIENT, "", b"payload")


@pytest.mark.parametrize("programs", ["vsftpd", "serve", "server1", "Server", "*", "vsftpd postfix"])
@pytest.mark.parametrize("mode", ["loop", "exec", "pass"])
def test_library_is_inert_in_others(serve, mode, programs):
    server = serve(mode, PROGRAMS=programs, TRUST="not a prefix", MAX_PENDING="x", SOCKNAME="header")
    assert is_untouched(server.port, v1())
    assert server.stderr == ""


def test_inert_program_sees_the_balancer_on_a_connection_it_is_given(spawner, server_path):
    server = spawner(environment(PROGRAMS=Path(sys.executable).name), [server_path, "child"])
    with connect(server.port) as client:
        answer = parse(exchange(client, v1(), b"payload"))
        assert (answer.peer, answer.payload) == (name(client.getsockname()), b"payload")


def test_path_is_a_mistake_in_the_list_of_programs(run, server_path):
    server = run([server_path, "loop"], environment(PROGRAMS="vsftpd /usr/sbin/sshd"))
    assert server.line() == "listen: Invalid argument"
    server.process.wait()
    [line] = server.stderr.splitlines()
    assert "TRUEPEER_PROGRAMS" in line and "/usr/sbin/sshd" in line


@pytest.mark.parametrize("programs, acts", [("link", True), ("server", True), ("argument", False)])
def test_program_is_known_by_its_link_and_by_its_file(run, server_path, tmp_path, programs, acts):
    link = tmp_path / "link"
    link.symlink_to(server_path)
    command = ["/bin/bash", "-c", 'exec -a argument "$0" loop', link]
    server = run(command, environment(PROGRAMS=programs)).listening()
    assert (ask(server.port, v1()).peer == CLIENT) == acts


@pytest.mark.parametrize("programs, acts", [("daemon", True), (Path(sys.executable).resolve().name, True),
                                            ("names.py", False)])
def test_script_is_known_by_its_own_name_and_by_its_interpreter(run, tmp_path, programs, acts):
    script = tmp_path / "daemon"
    script.write_text(f"#!{sys.executable} -B\n" + (HERE / "pyserver.py").read_text())
    script.chmod(0o755)
    env = environment(PROGRAMS=programs)
    server = run([script, "threading"], env).listening()
    assert (ask(server.port, v1()).peer == CLIENT) == acts


# ---- twice ----

@pytest.mark.parametrize("layout", [None, 2], ids=["same", "version"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("mode", ["loop", "fork", "epoll"])
def test_header_is_read_once_by_two_copies(run, server_path, tmp_path, mode, first, layout):
    copies = [harness.LIBRARY, copy_of_library(tmp_path / "libtruepeer.so", layout)]
    env = preloaded(*(copies if first else reversed(copies)), TRUST="all")
    server = run([server_path, mode], env).listening()
    mapped = Path(f"/proc/{server.pid}/maps").read_text()
    assert all(str(copy) in mapped for copy in copies)
    for _ in range(2):
        assert ask(server.port, v1(), SECOND) == (CLIENT, CLIENT, "", SECOND)
    assert server.stderr == ""


# ---- replaced by another version while servers run ----

def test_server_goes_on_while_the_library_is_replaced(run, server_path, tmp_path):
    library = copy_of_library(tmp_path / "libtruepeer.so")
    server = run([server_path, "exec"], preloaded(library)).listening()
    assert ask(server.port, v1(), SECOND) == ("-", CLIENT, "", SECOND)
    inode = library.stat().st_ino
    copy_of_library(library)
    assert library.stat().st_ino != inode  # the children have the new one
    assert ask(server.port, v2(), SECOND) == ("-", CLIENT, "", SECOND)


def test_record_of_another_version_is_not_misread(spawner, server_path, tmp_path):
    library = copy_of_library(tmp_path / "libtruepeer.so")
    server = spawner(preloaded(library), [server_path, "child"])
    copy_of_library(library, layout=2)
    with connect(server.port) as client:
        answer = parse(exchange(client, v1(), SECOND))
        assert (answer.peer, answer.payload) == (name(client.getsockname()), SECOND)


# ---- /etc/ld.so.preload and secure execution, in a file system of one's own ----

# The folders of the machine are only covered, for this one process and what it starts.
PRIVATE = """
set -e
room=$1 library=$2 folder=$3 everywhere=$4
shift 4
mount -t tmpfs none "$room"
for covered in "$folder" /etc; do
	layer=$room/layer$covered
	mkdir -p "$layer/upper" "$layer/work"
	mount -t overlay none -o "lowerdir=$covered,upperdir=$layer/upper,workdir=$layer/work" "$covered"
done
cp "$server" "$room/server"
chown "$owner" "$room/server"
chmod "$mode" "$room/server"
[ -z "$capability" ] || setcap "$capability" "$room/server"
install -m "$library_mode" "$library" "$folder/libtruepeer.so"
[ "$everywhere" = no ] || echo "$everywhere" > /etc/ld.so.preload
exec "$@"
"""


@pytest.fixture
def private(run, server_path, open_folder):
    """private(command, everywhere=, owner=, mode=, ...): a program where the library is installed for the loader.

    {server} is the test server with that owner, mode and capability, on a file system of its own.
    """
    library = harness.LIBRARY
    if os.geteuid() != 0:
        pytest.skip("needs root")
    libc = re.search(r"(/\S*)/libc\.so\.6$", Path("/proc/self/maps").read_text(), re.M)[1]
    unshare = harness.private_mounts()

    def start(command, everywhere="no", owner="root:root", mode="755", capability="", library_mode="4755", started=run):
        env = dict(environment(plain=True), server=str(server_path), owner=owner, mode=mode, capability=capability,
                   library_mode=library_mode)
        words = [str(word).format(server=open_folder / "server") for word in command]
        return started([*unshare, "sh", "-c", PRIVATE, "sh", open_folder, library, libc, everywhere, *words], env)
    return start


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
BY_NAME = "LD_PRELOAD=libtruepeer.so"
SERVER = ["TRUEPEER_TRUST=loopback", "TRUEPEER_INHERITED=0", "TRUEPEER_LOG=stderr", "{server}", "loop"]
SECURE = {
    "setuid": dict(mode="4755"),
    "setgid": dict(mode="2755"),
    "capability": dict(capability="cap_net_bind_service=ep"),
}
secure = pytest.mark.parametrize("how", SECURE.values(), ids=SECURE)
ways = pytest.mark.parametrize("preload, everywhere", [(BY_NAME, "no"), ("LANG=C", "libtruepeer.so")],
                               ids=["by name", "ld.so.preload"])


def is_mapped(server):
    return "/libtruepeer.so" in Path(f"/proc/{server.pid}/maps").read_text()


@alone
@ways
def test_loader_finds_the_library_by_its_name(private, preload, everywhere):
    server = private([*NOBODY, "env", preload, *SERVER], everywhere).listening()
    assert is_mapped(server)
    assert ask(server.port, v1(), b"payload") == (CLIENT, CLIENT, "", b"payload")


@alone
@ways
@secure
def test_secure_execution_loads_the_library_and_believes_no_variable(private, preload, everywhere, how):
    server = private([*NOBODY, "env", preload, *SERVER], everywhere, **how).listening()
    assert is_mapped(server)
    assert is_untouched(server.port, v1(), b"payload")
    assert server.stderr == ""


@alone
@secure
def test_secure_execution_takes_no_library_by_its_path_or_without_its_bit(private, how):
    path = Path(harness.LIBRARY).resolve()
    for preload, library_mode in (f"LD_PRELOAD={path}", "4755"), (BY_NAME, "755"):
        server = private([*NOBODY, "env", preload, *SERVER], library_mode=library_mode, **how).listening()
        assert not is_mapped(server)


# A server hands its connection to a program that is executed securely.
HANDED_OVER = """
cp "$1" "$1.starter"
[ -z "$2" ] || echo "$2" > /etc/truepeer.rules
SELF=$1 exec setpriv --reuid=65534 --regid=65534 --clear-groups env TRUEPEER_TRUST=loopback "$1.starter" exec
"""


@alone
@secure
def test_secure_execution_believes_only_whom_its_rules_trust(private, how):
    def start(rules, **how):
        return private(["sh", "-c", HANDED_OVER, "sh", "{server}", rules], "libtruepeer.so", **how).listening()
    for rules in "", "from 192.0.2.1":  # whoever starts the program may have made the socket
        server = start(rules, **how)
        with connect(server.port) as client:
            assert parse(exchange(client, v1(), b"payload")).peer == name(client.getsockname())
    assert ask(start("from loopback", **how).port, v1(), b"payload")[1] == CLIENT
    assert ask(start("").port, v1(), b"payload")[1] == CLIENT


# The same, to a Python that is executed securely: it tells the names of both ends.
HANDED_TO_PYTHON = """
cd "$(dirname "$1")"
install -m 4755 "$2" python
echo "$3" > /etc/truepeer.rules
cat > child <<'END'
import socket
client = socket.socket(fileno=0)
client.sendall(str((client.getsockname(), client.getpeername())).encode())
END
SELF=$PWD/python exec setpriv --reuid=65534 --regid=65534 --clear-groups \\
	env TRUEPEER_TRUST=loopback TRUEPEER_SOCKNAME=header "$1" exec
"""


@alone
def test_secure_execution_believes_no_destination_either(private):
    def told(rules):
        python = Path("/usr/bin/python3").resolve()
        server = private(["sh", "-ec", HANDED_TO_PYTHON, "sh", "{server}", python, rules], "libtruepeer.so").listening()
        with connect(server.port) as client:
            true = client.getpeername(), client.getsockname()
            return exchange(client, v1(), b"").decode() == str(true)
    assert told("from 192.0.2.1") and not told("from loopback")


# ---- what it costs where it has nothing to do ----

LOADER = {"openat", "read", "pread64", "newfstatat", "fstat", "mmap", "mprotect", "munmap", "close", "readlink"}


@alone
@pytest.mark.parametrize("variables", [{}, {"LOG": "syslog"}, {"PROGRAMS": "vsftpd"}], ids=str)
def test_program_that_accepts_nothing_makes_no_system_call_more_but_a_look_at_its_descriptors(tmp_path, variables):
    strace = find("strace", "strace")

    def calls(plain):
        env, log = environment(plain, **{"MAX_PENDING": None, **variables}), tmp_path / "trace"
        sets = [f"--env={k}={v}" for k, v in env.items() if k.startswith(("LD_PRELOAD", "TRUEPEER_"))]
        subprocess.run([strace, "-o", log, *sets, "/bin/true"], env=environment(plain=True), check=True)
        return Counter(re.findall(r"^(\w+)\(", log.read_text(), re.M))
    more = calls(False) - calls(True)
    assert set(more) <= LOADER | {"poll", "getsockopt"} and more["poll"] <= 2
    assert more["openat"] == 1 and more["readlink"] == ("PROGRAMS" in variables)


QUIET = [["/bin/true"], ["ls", "/"], ["sh", "-c", "ls | cat"], ["apt-get", "--version"], ["dpkg", "--list"],
         [sys.executable, "-c", "import socket; s = socket.create_server(('127.0.0.1', 0));"
                                "c = socket.create_connection(s.getsockname());"
                                "print(s.accept()[1] == c.getsockname())"]]


@alone
@pytest.mark.parametrize("command", QUIET, ids=[command[0].rpartition("/")[2] for command in QUIET])
@pytest.mark.parametrize("variables", [[], ["TRUEPEER_PROGRAMS=vsftpd", "TRUEPEER_TRUST=nonsense"]],
                         ids=["none", "some"])
def test_programs_are_as_quiet_as_ever_with_the_library_in_all_of_them(private, command, variables):
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not here")

    def started(argv, env):
        done = subprocess.run(list(map(str, argv)), env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=PATIENCE)
        return done.returncode, done.stdout, done.stderr
    with_library, without = (private(["env", *variables, *command], everywhere, started=started)
                             for everywhere in ("libtruepeer.so", "no"))
    assert with_library == without and with_library[0] == 0 and with_library[2] == b""


@alone
def test_library_is_really_in_all_of_them(private):
    server = private(["env", "{server}", "loop"], "libtruepeer.so").listening()
    assert is_mapped(server) and is_untouched(server.port, v1()) and server.stderr == ""
