# SPDX-License-Identifier: MIT
"""truepeer doctor: broken set-ups, each with the cause it must name; healthy ones; wrong usage."""

import contextlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import harness
import programs
import pytest
from conftest import TRUEPEER, assert_wrong, truepeer
from harness import LIBRARY, Program, connect, eventually, find, free_port, listens, v2
from test_servers import DOVECOT

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def folder(request):
    return programs.open_folder(request)


@pytest.fixture(scope="module")
def server_path(folder):
    return harness.compiled("TEST_SERVER", "server.c", folder)


@pytest.fixture
def start(folder):
    """start(argv, env): a program that ends with the test."""
    with contextlib.ExitStack() as stack:
        def run(argv, env, fds=()):
            program = Program(argv, env, folder, fds)
            stack.callback(program.stop)
            return program
        yield run


@pytest.fixture
def serve(start, server_path):
    """serve("loop", TIMEOUT="1s", ...): the test server with the library, listening."""
    def run(*words, **variables):
        return start([server_path, *(words or ["loop"])], harness.environment(**variables)).listening()
    return run


def asked(*words, **options):
    """The findings, as {cause: text}."""
    done = truepeer("doctor", "--json", *words, **options)
    assert done.returncode in (0, 1) and done.stderr == b"", done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == (1 if told["findings"] else 0)
    assert all(finding["remedy"] for finding in told["findings"])
    return {finding["cause"]: finding["text"] for finding in told["findings"]}


def assert_cause(cause, word, *words, **options):
    """The one finding is this; and the text for people says the same."""
    found = asked(*words, **options)
    assert list(found) == [cause], found
    assert word in found[cause]
    text = truepeer("doctor", *words, **options).stdout.decode()
    assert f"{cause}: {found[cause]}\n  remedy: " in text


def environment_without(*names, **variables):
    env = harness.environment(**variables)
    return {name: value for name, value in env.items() if name not in names}


# ---- nothing is wrong ----

def test_a_healthy_server(serve):
    server = serve(LISTEN=None)
    assert asked(server.pid) == {}
    with connect(server.port) as client:
        client.sendall(v2() + b"x")
        assert asked(server.pid) == asked("--port", server.port) == {}
    done = truepeer("doctor", server.pid)
    assert done.returncode == 0 and b"nothing stands in the way" in done.stdout


def test_a_healthy_server_below_a_supervisor(start, server_path):
    env = harness.environment(LISTEN="1-65535")
    supervisor = start(["sh", "-c", f"{server_path} loop & wait"], env).listening()
    told = json.loads(truepeer("doctor", "--json", supervisor.pid).stdout)
    assert told["findings"] == [] and told["processes"][0]["program"] == str(server_path)


NGINX = """
{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    include servers/*.conf;
}}
"""


@pytest.fixture
def nginx(start, folder):
    def run(option):
        program, port = find("nginx", "nginx"), free_port()
        place = folder / f"nginx-{port}"
        (place / "servers").mkdir(parents=True)
        (place / "nginx.conf").write_text(NGINX.format(user="user root;" if os.geteuid() == 0 else ""))
        (place / "servers/one.conf").write_text(
            f"# listen 1 proxy_protocol;\nserver {{ server_name a; listen 127.0.0.1:{port}{option}; return 200; }}\n")
        server = start([program, "-e", "stderr", "-p", place, "-c", "nginx.conf"], harness.environment())
        eventually(lambda: listens(port), "nginx listens")
        server.port = port
        return server
    return run


def test_healthy_nginx(nginx):
    server = nginx("")
    assert asked(server.pid) == asked("--port", server.port) == {}
    told = json.loads(truepeer("doctor", "--json", "--port", server.port).stdout)
    assert len(told["processes"]) == 2  # master and worker


def test_io_uring_that_is_not_for_accepting_is_no_finding(start, folder):
    """A ring beside an accept that works: seen by the record on the connection."""
    source = (HERE / "ring.c").read_text()
    plain = programs.SERVER.replace("int fd = socket", "syscall(SYS_io_uring_setup, 4, &params); int fd = socket")
    plain = "#include <linux/io_uring.h>\n#include <sys/syscall.h>\nstruct io_uring_params params;\n" + plain
    assert "io_uring_setup" in source
    server = start([programs.compiled(folder, "ringed", source=plain)], harness.environment()).listening()
    with connect(server.port) as client:
        client.sendall(v2())
        assert client.recv(6) == b"hello\n"
        assert asked(server.pid) == {}


# ---- the library is not there ----

def test_started_without_the_library(serve):
    assert_cause("not-preloaded", "without LD_PRELOAD", serve(plain=True).pid)


def test_the_environment_was_scrubbed(start, server_path):
    # As postfix, dovecot and sudo do.
    starter = start(["sh", "-c", f"env -i {server_path} loop & wait"], harness.environment()).listening()
    assert_cause("scrubbed", str(server_path), "--port", starter.port)
    assert_cause("scrubbed", str(server_path), starter.pid)


def test_dovecot_without_import_environment(start, folder):
    if os.geteuid() != 0:
        pytest.skip("a dovecot with all its users needs root")
    program, port, mail = find("dovecot", "dovecot-imapd"), free_port(), pwd.getpwnam("mail")
    config = folder / "imap.conf"
    text = DOVECOT.format(folder=folder / "imap", port=port, login="dovenull", internal="dovecot",
                          mail=mail.pw_uid, mail_group=mail.pw_gid)
    config.write_text(re.sub(r"import_environment = .*", "import_environment = TZ", text))
    (folder / "imap").mkdir()
    start([program, "-F", "-c", config], harness.environment())
    with contextlib.closing(eventually(lambda: greeted(port), "dovecot greets")):
        found = asked("--port", port)
    assert "imap-login" in found.get("scrubbed", ""), found
    assert "cleared on the way" in found["scrubbed"]


def greeted(port):
    """A connection that the server has answered: its login process is there."""
    with contextlib.suppress(OSError):
        client = connect(port)
        client.settimeout(5)
        if client.recv(1):
            return client
        client.close()


@pytest.fixture
def service(folder):
    """A cgroup that is called as systemd calls a service's."""
    place = folder / "cgroup"
    place.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "cgroup2", "none", place], capture_output=True).returncode:
        pytest.skip("no cgroup of our own")
    group = place / f"truepeer-test-{os.getpid()}.service"
    try:
        group.mkdir()
        yield group
        eventually(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_unit_without_it(service, start, server_path):
    server = start([server_path, "loop"], harness.environment(plain=True)).listening()
    (service / "cgroup.procs").write_text(str(server.pid))
    assert_cause("unit", service.name, server.pid)


@pytest.mark.parametrize("make, cause, word", [
    (programs.static, "static", "statically linked"), (programs.static_pie, "static", "statically linked"),
    (programs.go, "go", "Go program"), (programs.musl, "libc", "musl"), (programs.narrow, "architecture", "i386"),
], ids=lambda made: getattr(made, "__name__", None))
def test_programs_that_cannot_be_preloaded(make, cause, word, start, folder):
    program = make(folder)
    env = harness.environment(plain=make is programs.musl)  # musl's loader ends the program over it
    server = start([program], env).listening()
    assert_cause(cause, word, server.pid)
    assert_cause(cause, word, "--port", server.port)
    assert_cause(cause, word, "--", program, env=harness.environment())


def test_setuid(start, folder):
    program = programs.setuid(programs.compiled(folder, "plain"), folder)
    assert_cause("setuid", "gained privileges", start([program], harness.environment()).listening().pid)
    assert_cause("setuid", "setuid", "--", program, env=harness.environment())


COVERED_ETC = """
mount -t tmpfs none /etc && echo "$1" >/etc/ld.so.preload || exit 77
shift
exec "$@"
"""


@harness.unsanitized("the loader has no runtime to go before the library")
def test_secure_execution_by_the_rules_file(start, folder):
    """With the library in it, by /etc/ld.so.preload, in a view of /etc that doctor has, too."""
    program, library = programs.setuid(programs.compiled(folder, "plain"), folder), folder / "libtruepeer.so"
    shutil.copy(LIBRARY, library)
    command = [*harness.private_mounts(), "sh", "-c", COVERED_ETC, "sh", library, program]
    server = start(command, {**harness.environment(TRUST="10.0.0.0/8", PROGRAMS="nginx"), "LD_PRELOAD": ""}).listening()
    rules = Path(f"/proc/{server.pid}/root/etc/truepeer.rules")
    enter = [find("nsenter", "util-linux"), "--mount", "--root", f"--target={server.pid}", TRUEPEER, "doctor"]

    def examined(text, *words):
        if text is not None:
            rules.write_text(text)
        return subprocess.run([*map(str, [*enter, *words, server.pid])], capture_output=True, text=True,
                              env=harness.environment(plain=True), timeout=harness.PATIENCE)

    def causes(text):
        done = examined(text, "--json")
        told = json.loads(done.stdout)
        assert told["processes"][0]["secure"] and done.returncode == (1 if told["findings"] else 0)
        return [finding["cause"] for finding in told["findings"]]
    assert causes(None) == causes("# none\n") == ["setuid"]
    assert causes("from loopback\n") == []
    assert causes("from x\n") == ["mistake"]
    assert causes("from loopback listen 1\n") == ["no-listener-in-scope"]
    assert causes(f"from loopback\nprograms {program.name}\n") == []
    assert causes("from loopback\nprograms nginx\n") == ["left-out"]
    done = examined("from loopback\n")
    assert "no variable is believed" in done.stdout and "/etc/truepeer.rules alone counts" in done.stdout


def test_capabilities(start, folder):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file capabilities")
    program = programs.capable(programs.compiled(folder, "plain"), folder)
    as_nobody = [sys.executable, "-c", "import os,sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
                                       "os.execv(sys.argv[1], sys.argv[1:])"]
    server = start([*as_nobody, program], harness.environment()).listening()
    assert_cause("setuid", "file capabilities", server.pid)


def test_the_library_is_missing(start, server_path, folder):
    env = {**harness.environment(), "LD_PRELOAD": "/none/libtruepeer.so"}
    server = start([server_path, "loop"], env).listening()
    assert "No such file" in asked(server.pid)["library-missing"]
    assert "/none/libtruepeer.so" in asked("--port", server.port)["library-missing"]


def test_the_library_was_not_loaded(start, server_path, folder):
    """It is there, but the loader could not make anything of it."""
    broken = folder / "libtruepeer.so"
    broken.write_text("")
    env = {**harness.environment(), "LD_PRELOAD": str(broken)}
    assert_cause("not-mapped", str(broken), start([server_path, "loop"], env).listening().pid)


# ---- the library is there ----

def test_no_source_is_trusted(serve):
    assert_cause("no-trust", "TRUEPEER_TRUST", serve(TRUST=None).pid)


def test_a_mistake_in_the_settings(start):
    # listen() fails over it; a server that inherited its listener is left with closed doors.
    with harness.listener() as made:
        script = "import socket,sys,time; s = socket.socket(fileno=int(sys.argv[1])); s.accept()"
        server = start([sys.executable, "-c", script, made.fileno()], harness.environment(HEADER="maybe"),
                       [made.fileno()])
        eventually(lambda: asked(server.pid).get("mistake"), "the library is mapped")
        assert_cause("mistake", 'TRUEPEER_HEADER: "maybe"', server.pid)


def test_no_listener_in_scope(serve):
    server = serve(LISTEN="1 192.0.2.1:1-65535")
    assert_cause("no-listener-in-scope", f"127.0.0.1:{server.port}", server.pid)


def test_the_balancer_is_not_trusted(serve):
    server = serve(TRUST="10.0.0.0/8")
    with connect(server.port, source="127.0.0.9") as client:
        client.sendall(v2())
        assert_cause("untrusted-sender", "127.0.0.9", server.pid)


@pytest.mark.parametrize("host, name", [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
def test_an_ipv6_listener(host, name, serve):
    server = serve("loop", "-6", TRUST="10.0.0.0/8")
    with connect(server.port, host=host) as client:
        client.sendall(v2())
        assert_cause("untrusted-sender", f"come from {name}", server.pid)
    assert asked(serve("loop", "-6", LISTEN="[::]:1").pid)["no-listener-in-scope"]


def test_a_direct_client_beside_a_balancer_is_no_finding(serve):
    server = serve("fork", TRUST="127.0.0.8")
    with connect(server.port, source="127.0.0.9"), connect(server.port, source="127.0.0.8") as balancer:
        balancer.sendall(v2())
        assert asked(server.pid) == {}


def test_the_header_is_late(serve):
    server = serve(TIMEOUT="20s")
    with connect(server.port, source="127.0.0.9"):
        assert_cause("late-header", "127.0.0.9", server.pid)
    server = serve(TIMEOUT="20s", HEADER="optional")
    with connect(server.port):
        assert asked(server.pid) == {}


@pytest.mark.parametrize("sent, cause", [
    (b"EHLO there\r\n", "missing-header"), (b"PROXY TCP4 nonsense\r\n", "malformed-header"),
])
def test_the_counters_tell_of_headers(sent, cause, serve, folder):
    server = serve(STATS=folder / f"{cause}.stats")
    for _ in range(3):
        assert harness.is_refused(server.port, sent)
    assert_cause(cause, "3 connections", server.pid)
    for i in range(40):
        harness.ask(server.port, v2())
        if i == 20:
            assert list(asked(server.pid)) == [cause]  # 3 in 21
    assert asked(server.pid) == {}


def test_a_second_copy(start, server_path, folder):
    (folder / "copy").mkdir()
    copy = folder / "copy/libtruepeer.so"
    shutil.copy(LIBRARY, copy)
    server = start([server_path, "loop"], harness.environment(preload=[copy])).listening()
    assert_cause("second-copy", str(copy), server.pid)


def test_nginx_reads_the_header_itself(nginx):
    server = nginx(" proxy_protocol")
    assert_cause("native", f"listen 127.0.0.1:{server.port} proxy_protocol", server.pid)
    assert_cause("native", "servers/one.conf", "--port", server.port)


def test_haproxy_reads_the_header_itself(start, folder):
    program, port = find("haproxy", "haproxy"), free_port()
    config = folder / "haproxy.cfg"
    config.write_text("defaults\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n mode tcp\n"
                      f"listen one\n bind 127.0.0.1:{port} accept-proxy\n server a 127.0.0.1:9\n")
    server = start([program, "-db", "-f", config], harness.environment())
    eventually(lambda: listens(port), "haproxy listens")
    assert_cause("native", "accept-proxy", server.pid)
    config.write_text(config.read_text().replace(" accept-proxy", ""))
    assert asked(server.pid) == {}


@pytest.mark.parametrize("program, config, statement", [
    ("dovecot", "service imap-login {{ inet_listener imap {{ haproxy = yes }} }}", "haproxy = yes"),
    ("apache2", "<VirtualHost *:80>\n  remoteipproxyprotocol On\n</VirtualHost>", "remoteipproxyprotocol On"),
    ("exim4", "hosts_proxy = 10.0.0.0/8", "hosts_proxy"), ("proftpd", "ProxyProtocolEngine on", "ProxyProtocolEngine"),
    ("squid", "http_port 3128 require-proxy-header", "require-proxy-header"),
    ("mariadbd", "[mysqld]\nproxy-protocol-networks=*", "proxy-protocol-networks"),
    ("smtpd", "listen on lo0 proxy-v2", "proxy-v2"), ("lighttpd", 'extforward.hap-PROXY = "enable"', "hap-PROXY"),
])
def test_configurations_of_servers_that_read_it(program, config, statement, folder):
    """Before they are started, and by the file on their command line."""
    binary, file = folder / program, folder / f"{program}.conf"
    shutil.copy("/bin/true", binary)
    file.write_text(config.replace("{{", "{").replace("}}", "}"))
    assert_cause("native", statement, "--", binary, "-c", file, env=harness.environment())
    file.write_text("# " + config.replace("\n", "\n# ").replace("{{", "").replace("}}", ""))
    assert asked("--", binary, "-c", file, env=harness.environment()) == {}


def test_what_stands_in_a_comment_says_nothing(folder):
    binary, file = folder / "squid", folder / "comment.conf"
    shutil.copy("/bin/true", binary)
    file.write_text("http_port 3128 # require-proxy-header\n")
    assert asked("--", binary, "-f", file, env=harness.environment()) == {}


def test_postfix_reads_the_header_itself(folder):
    binary, place = folder / "master", folder / "postfix"
    shutil.copy("/bin/true", binary)
    place.mkdir()
    (place / "main.cf").write_text("smtpd_upstream_proxy_protocol = haproxy\n")
    assert_cause("native", "upstream_proxy_protocol", "--", binary, "-c", place, env=harness.environment())
    (place / "main.cf").write_text("smtpd_upstream_proxy_protocol =\n")
    (place / "master.cf").write_text("25 inet n - n - - smtpd\n  -o smtpd_upstream_proxy_protocol=haproxy\n")
    assert_cause("native", "-o smtpd_upstream", "--", binary, "-c", place, env=harness.environment())


def test_a_command_line_that_reads_the_header(folder):
    binary = folder / "varnishd"
    shutil.copy("/bin/true", binary)
    assert_cause("native", "PROXY", "--", binary, "-a", ":80,PROXY", env=harness.environment())


def test_io_uring(start, folder):
    program = programs.compiled(folder, "ring", source=(HERE / "ring.c").read_text())
    server = start([program], harness.environment())
    line = server.line()
    if line == "no io_uring":
        pytest.skip("io_uring is turned off here")
    server.port = int(line.split()[1])
    with connect(server.port) as client:
        client.sendall(v2())
        assert client.recv(6) == b"hello\n"
        assert_cause("io-uring", "io_uring", server.pid)


@harness.foreign
@pytest.mark.parametrize("inherited", [False, True])
def test_somebody_else_accepts(inherited, start):
    program, port = find("systemd-socket-activate", "systemd"), free_port()
    env = harness.environment()
    start([program, "--accept", "--inetd", "-l", f"127.0.0.1:{port}", "-E", f"LD_PRELOAD={env['LD_PRELOAD']}",
           "-E", "TRUEPEER_TRUST=loopback", *(["-E", "TRUEPEER_INHERITED=0"] if inherited else []), "cat"], harness.environment(plain=True))
    eventually(lambda: listens(port), "systemd-socket-activate listens")
    with connect(port) as client:
        client.sendall(b"PROXY UNKNOWN\r\nx")
        assert client.recv(100).endswith(b"x")
        ours, = (int(pid) for pid in os.listdir("/proc") if pid.isdigit() and serves(pid, client))
        if inherited:
            assert asked(ours) == {}
        else:
            assert_cause("accepted-elsewhere", "cat", ours)


def serves(pid, client):
    """Whether a cat has this connection as its standard input."""
    with contextlib.suppress(OSError):
        if Path(f"/proc/{pid}/comm").read_text() != "cat\n":
            return False
        link = os.readlink(f"/proc/{pid}/fd/0")
        port = f":{client.getsockname()[1]:04X}"
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(f"socket:[{row[9]}]" == link and row[2].endswith(port) for row in rows)


def test_a_program_that_is_not_listed(serve):
    assert_cause("left-out", '"server"', serve(PROGRAMS="nginx").pid)
    assert asked(serve(PROGRAMS="nginx server").pid) == {}


def test_a_program_that_a_rules_file_leaves_out(serve, folder):
    rules = folder / "programs.rules"
    by_file = {"TRUST": None, "RULES": rules}
    rules.write_text("from loopback\nprograms nginx\n")
    assert_cause("left-out", f'programs in "{rules}" does not name "server"', serve(**by_file).pid)
    assert asked(serve(**by_file, PROGRAMS="server").pid) == {}
    rules.write_text("from loopback\nprograms nginx server\n")
    assert asked(serve(**by_file).pid) == {}
    assert_cause("left-out", "TRUEPEER_PROGRAMS does not", serve(**by_file, PROGRAMS="nginx").pid)


LISTENING = f"""#!{sys.executable}
import socket
listener = socket.create_server(("127.0.0.1", 0))
listener.accept()
"""


@pytest.fixture(scope="module")
def aliased(folder, server_path):
    """A folder with a symbolic link to the test server, and a script."""
    (folder / "link").symlink_to(server_path)
    (folder / "script").write_text(LISTENING)
    (folder / "script").chmod(0o755)
    return folder


@pytest.mark.parametrize("command, name, goes_by_it", [
    (["{}/link", "loop"], "link", True), (["{}/link", "loop"], "server", True), (["{}/link", "loop"], "loop", False),
    (["{}/script"], "script", True), ([sys.executable, "{}/script"], "script", False),
])
def test_the_names_that_a_program_goes_by(command, name, goes_by_it, start, aliased):
    """Those that the library knows it by, not the words of its command line."""
    command, env = [word.format(aliased) for word in command], harness.environment(PROGRAMS=name)
    server = start(command, env)
    eventually(lambda: not asked(server.pid).keys() & {"not-preloaded", "no-listener"}, "it listens")
    for words in [server.pid], ["--", *command]:
        assert list(asked(*words, env=env)) == ([] if goes_by_it else ["left-out"])


def test_no_listener(start):
    sleeper = start(["sleep", "60"], harness.environment())
    eventually(lambda: LIBRARY in Path(f"/proc/{sleeper.pid}/maps").read_text(), "the library is mapped")
    assert_cause("no-listener", "sleep", sleeper.pid)


# ---- commands, and wrong usage ----

def test_commands_before_they_are_started(server_path):
    assert asked("--", server_path, "loop", env=harness.environment()) == {}
    assert_cause("no-trust", "TRUEPEER_TRUST", "--", server_path)
    assert_cause("mistake", '"x"', "--", server_path, env=harness.environment(LISTEN="x"))
    assert_cause("command", '"/none/such": no such command', "--", "/none/such", env=harness.environment())


@pytest.mark.parametrize("words, named", [
    ([], "expected"), (["x"], '"x"'), (["0"], '"0"'), (["1", "2"], '"2"'), (["--port", "0"], '"0"'),
    (["--port", "65536"], '"65536"'), (["--port"], "--port"), (["--port", "1", "2"], '"2"'), (["--bogus"], "--bogus"),
    (["nginx"], "behind --"), (["2147483647"], "no such process"), (["--"], "expected"),
])
def test_wrong_usage(words, named):
    assert_wrong(truepeer("doctor", *words), named)


def test_nobody_listens():
    assert_wrong(truepeer("doctor", "--port", free_port()), "nobody listens")
    assert "2 wrong usage, or there is nobody to look at" in " ".join(help_text().split())


def help_text():
    done = truepeer("doctor", "--help")
    assert done.returncode == 0 and done.stderr == b""
    return done.stdout.decode()


def test_what_others_may_not_see(serve):
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    server = serve()
    as_nobody = {"user": programs.NOBODY, "group": programs.NOBODY, "extra_groups": []}
    for words in [server.pid], ["--port", server.port]:
        assert_wrong(truepeer("doctor", *words, **as_nobody), "may not look")


def test_nobody_sees_what_is_theirs(start, folder):
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    program = programs.compiled(folder, "plain")
    program.chmod(0o755)
    command = [sys.executable, "-c", "import os,sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
                                     "os.execv(sys.argv[1], sys.argv[1:])", program]
    server = start(command, harness.environment()).listening()
    as_nobody = {"user": programs.NOBODY, "group": programs.NOBODY, "extra_groups": []}
    assert asked(server.pid, **as_nobody) == asked("--port", server.port, **as_nobody) == {}


def test_help():
    assert help_text().startswith("Usage: truepeer doctor")
