# SPDX-License-Identifier: MIT
"""Real servers for the tests: each starts a private instance and says how to talk to it."""

import contextlib
import os
import pwd
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

import conftest
import harness
from harness import HERE, environment, eventually, find, free_port, listens
from test_servers import DOVECOT


class Target(NamedTuple):
    port: int
    pid: int
    shows: object  # shows(ip, port): bytes that tell that the server knows this client
    request: bytes = b""  # what the client says behind its header
    until: bytes = rb"\n"  # what it waits for
    log: Optional[Path] = None  # where the server tells its clients, if not in the reply
    resets: bool = True  # silent connections reach accept
    staff: bool = False  # processes come and go, and talk to each other


class Place:
    """Where and how a server is started; native: it is told to read the header itself."""

    def __init__(self, run, folder, server_path, plain, variables, native=False):
        self.run, self.folder, self.server_path = run, folder, server_path
        self.plain, self.variables, self.native = plain, variables, native

    def environment(self):
        return environment(self.plain, **self.variables)

    def start(self, argv, port):
        process = self.run(argv, self.environment(), folder=self.folder)
        eventually(lambda: listens(port) or process.process.poll() is not None, f"{argv[0]} listens")
        assert process.process.poll() is None, process.stderr
        return process.pid

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path


@contextlib.contextmanager
def started(start, server_path=None, plain=False, **variables):
    """A server, in a folder and with a library that its unprivileged processes can read."""
    folder, libraries = Path(tempfile.mkdtemp(prefix="truepeer.")), harness.LIBRARY
    folder.chmod(0o755)
    try:
        harness.LIBRARY = " ".join(shutil.copy(library, folder) for library in libraries.split())
        with conftest.programs(folder) as run:
            yield start(Place(run, folder, server_path, plain, variables))
    finally:
        harness.LIBRARY = libraries
        shutil.rmtree(folder)


def by_name(ip, port):
    return f"accept=inet {ip} {port} peer=inet {ip} {port}\n".encode()


def by_words(ip, port):
    return f"{ip} {port}\n".encode()


def c_server(mode):
    def start(place):
        server = place.run([place.server_path, mode], place.environment()).listening()
        return Target(server.port, server.pid, by_name)
    return start


def python(kind):
    def start(place):
        command = [sys.executable, "-B", HERE / "pyserver.py", kind]
        server = place.run(command, place.environment()).listening()
        return Target(server.port, server.pid, by_name)
    return start


def node(place):
    program, port = find("node", "nodejs"), free_port()
    script = place.write("server.js", f"""\
require('http').createServer((request, response) => {{
    const socket = request.socket;
    response.end(socket.remoteAddress + ' ' + socket.remotePort + '\\n');
}}).listen({port}, '127.0.0.1');
""")
    return Target(port, place.start([program, script], port), by_words, b"GET / HTTP/1.0\r\n\r\n", rb"\r\n\r\n.*\n")


def node_cluster(place):
    program, port = find("node", "nodejs"), free_port()
    script = place.write("server.js", f"""\
const cluster = require('cluster');
if (cluster.isPrimary) {{
    cluster.fork();
    cluster.fork();
}} else {{
    require('http').createServer((request, response) => {{
        const socket = request.socket;
        response.end(socket.remoteAddress + ' ' + socket.remotePort + '\\n');
    }}).listen({port}, '127.0.0.1');
}}
""")
    return Target(port, place.start([program, script], port), by_words, b"GET / HTTP/1.0\r\n\r\n", rb"\r\n\r\n.*\n")


NATIVE_NGINX = """ proxy_protocol;
        set_real_ip_from 127.0.0.0/8;
        real_ip_header proxy_protocol;"""

TELLS_NAME = r"""
        listen 127.0.0.1:{port}{native}
        return 200 "$remote_addr $remote_port\n";
"""


def nginx(events="", server=TELLS_NAME):
    def start(place):
        program, port = find("nginx", "nginx"), free_port()
        config = place.write("nginx.conf", f"""\
{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 2;
pid nginx.pid;
error_log stderr;
events {{
    worker_connections 1024;
    {events}
}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{{server.format(port=port, native=NATIVE_NGINX if place.native else ";")}    }}
}}
""")
        pid = place.start([program, "-e", "stderr", "-p", place.folder, "-c", config], port)
        return Target(port, pid, by_words, b"GET / HTTP/1.0\r\n\r\n", rb"\r\n\r\n.*\n")
    return start


def redis(place):
    program, port = find("redis-server", "redis-server"), free_port()
    pid = place.start([program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no",
                       "--protected-mode", "no", "--dir", place.folder], port)
    return Target(port, pid, lambda ip, port: f" addr={ip}:{port} ".encode(), b"CLIENT INFO\r\n", rb"addr=.*\n")


def vsftpd(place):
    program, port = find("vsftpd", "vsftpd"), free_port()
    log = place.folder / "vsftpd.log"
    config = place.write("vsftpd.conf", f"""\
background=NO
listen=YES
listen_address=127.0.0.1
listen_port={port}
run_as_launching_user={"NO" if os.geteuid() == 0 else "YES"}
anonymous_enable=YES
local_enable=NO
anon_root={place.folder}
xferlog_enable=YES
vsftpd_log_file={log}
secure_chroot_dir={place.folder}
""")
    return Target(port, place.start([program, config], port), lambda ip, port: f'Client "{ip}"'.encode(),
                  b"", rb"220 .*\r\n", log)


def dovecot(service_count):
    def start(place):
        if os.geteuid() != 0:
            pytest.skip("a dovecot with all its users needs root")
        program, port = find("dovecot", "dovecot-imapd"), free_port()
        if not Path("/usr/lib/dovecot/imap").exists():
            pytest.skip("dovecot's imap is not here (Debian package dovecot-imapd)")
        mail = pwd.getpwnam("mail")
        text = DOVECOT.format(folder=place.folder, port=port, login="dovenull", internal="dovecot",
                              mail=mail.pw_uid, mail_group=mail.pw_gid)
        text = re.sub(r"(import_environment = .*)", r"\1 TRUEPEER_TIMEOUT", text)
        text = text.replace("service imap-login {", f"service imap-login {{\n  service_count = {service_count}")
        if place.native:
            text = text.replace(f"port = {port}\n", f"port = {port}\n    haproxy = yes\n")
            text += "haproxy_trusted_networks = 127.0.0.0/8\n"
        config = place.write("dovecot.conf", text)
        pid = place.start([program, "-F", "-c", config], port)
        return Target(port, pid, lambda ip, port: f"rip={ip},".encode(), b"", rb"\* OK .*\r\n",
                      place.folder / "log", staff=True)
    return start


def postfix(place):
    if os.geteuid() != 0:
        pytest.skip("postfix needs root")
    master, port = Path("/usr/lib/postfix/sbin/master"), free_port()
    if not master.exists():
        pytest.skip("postfix is not here (Debian package postfix)")
    owner = pwd.getpwnam("postfix")
    queue, data, config = place.folder / "queue", place.folder / "data", place.folder / "config"
    for made in queue, data, config, *(queue / name for name in ("private", "public", "pid", "active", "incoming")):
        made.mkdir()
        if made not in (queue, config, queue / "pid"):
            shutil.chown(made, owner.pw_uid, owner.pw_gid)
    log = place.folder / "log"
    place.write("config/main.cf", f"""\
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
myhostname = test.invalid
alias_maps =
alias_database =
maillog_file = {log}
maillog_file_prefixes = {place.folder}
smtpd_peername_lookup = no
smtpd_delay_reject = no
smtpd_client_restrictions = check_client_access static:{{554 no}}
import_environment = MAIL_CONFIG LD_PRELOAD TRUEPEER_TRUST TRUEPEER_TIMEOUT
{"smtpd_upstream_proxy_protocol = haproxy" if place.native else ""}
""")
    place.write("config/master.cf", f"""\
127.0.0.1:{port} inet n - n - - smtpd
anvil unix - - n - 1 anvil
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
""")
    pid = place.start([master, "-c", config, "-d"], port)
    return Target(port, pid, lambda ip, port: f"unknown[{ip}]".encode(), b"", rb"[25]\d\d .*\r\n", log, staff=True)


def apache(mpm, accept_filter="none"):
    def start(place):
        program, port = find("apache2", "apache2"), free_port()
        modules = "/usr/lib/apache2/modules"
        user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
        config = place.write("httpd.conf", f"""\
ServerRoot {place.folder}
ServerName localhost
LoadModule mpm_{mpm}_module {modules}/mod_mpm_{mpm}.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule headers_module {modules}/mod_headers.so
{user}
Listen 127.0.0.1:{port}
AcceptFilter http {accept_filter}
PidFile httpd.pid
ErrorLog /dev/stderr
DefaultRuntimeDir {place.folder}
Mutex posixsem
DocumentRoot {place.folder}
StartServers {8 if mpm == "prefork" else 2}
{"MinSpareServers 8" if mpm == "prefork" else "ThreadsPerChild 25"}
{"MaxSpareServers 8" if mpm == "prefork" else "MinSpareThreads 25"}
MaxRequestWorkers {8 if mpm == "prefork" else 50}
Header always set Client "expr=%{{REMOTE_ADDR}} %{{REMOTE_PORT}}"
""")
        pid = place.start([program, "-f", config, "-DFOREGROUND"], port)
        return Target(port, pid, lambda ip, port: f"Client: {ip} {port}\r\n".encode(), b"GET / HTTP/1.0\r\n\r\n",
                      rb"\r\n\r\n", resets=accept_filter == "none")
    return start


MODES = ["loop", "fork", "threads", "prefork", "select", "poll", "poll-blocking", "epoll", "epoll-blocking", "epoll-et",
         "epoll-oneshot", "epoll-exclusive", "epoll-two", "epoll-shared"]

C_SERVERS = {f"c-{mode}": c_server(mode) for mode in MODES}

DAEMONS = {
    "python-asyncio": python("asyncio"),
    "python-threading": python("threading"),
    "python-forking": python("forking"),
    "node": node,
    "node-cluster": node_cluster,
    "nginx": nginx(),
    "nginx-mutex": nginx("accept_mutex on;"),
    "redis": redis,
    "vsftpd": vsftpd,
    "dovecot": dovecot(1),
    "dovecot-fast": dovecot(0),
    "postfix": postfix,
    "apache-prefork": apache("prefork"),
    "apache-event": apache("event"),
    "apache-event-deferred": apache("event", "data"),
}

CORE = ["c-loop", "c-threads", "c-prefork", "c-select", "c-poll-blocking", "c-epoll-et", "nginx", "vsftpd", "dovecot",
        "postfix", "apache-prefork"]
