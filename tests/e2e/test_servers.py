# SPDX-License-Identifier: MIT
"""Unmodified servers: they report the client named in the header, and without it the balancer."""

import os
import pwd
import re
import shutil
import sys
from pathlib import Path

import pytest

import harness
from harness import (HERE, ask, connect, environment, eventually, exchange, find, free_port,
                     listens, name, parse, read_all, v1, v1_six, v2)

CLIENT = "inet 203.0.113.7 56324"
HEADERS = {"v1": v1(), "v2": v2()}
headers = pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)


# ---- C, in every way to accept and to hand over ----

ACCEPTING = ["loop", "fork", "accept4", "threads", "poll", "epoll"]
ELSEWHERE = ["exec", "pass"]  # another process asks, by getpeername
modes = pytest.mark.parametrize("mode", ACCEPTING + ELSEWHERE)


@modes
@headers
def test_server_reports_the_client(serve, mode, header):
    server = serve(mode)
    for _ in range(3):  # inetd style servers reuse descriptors
        answer = ask(server.port, header, b"payload")
        assert answer.accept == ("-" if mode in ELSEWHERE else CLIENT)
        assert (answer.peer, answer.payload) == (CLIENT, b"payload")
    assert server.stderr == ""


@modes
def test_server_reports_the_balancer_without_the_library(serve, mode):
    server = serve(mode, plain=True)
    with connect(server.port) as client:
        answer = parse(exchange(client, v1(), b"payload"))
        me = name(client.getsockname())
    assert answer.accept == ("-" if mode in ELSEWHERE else me)
    assert (answer.peer, answer.payload) == (me, v1() + b"payload")


@modes
def test_server_reports_an_ipv6_client(serve, mode):
    answer = ask(serve(mode, "-6").port, v1_six())
    assert answer.peer == "inet6 2001:db8::7 56324"


@modes
def test_every_connection_has_its_own_client(serve, mode):
    server = serve(mode)
    for i in range(1, 101):
        answer = ask(server.port, v2(f"203.0.113.{i}", 1000 + i))
        assert answer.peer == f"inet 203.0.113.{i} {1000 + i}"


# ---- Python ----

kinds = pytest.mark.parametrize("kind", ["threading", "forking", "asyncio"])


def python_server(run, kind, **variables):
    return run([sys.executable, "-B", HERE / "pyserver.py", kind], environment(**variables)).listening()


@kinds
@headers
def test_python_reports_the_client(run, kind, header):
    answer = ask(python_server(run, kind).port, header, b"payload")
    assert answer == (CLIENT, CLIENT, "", b"payload")


@kinds
def test_python_reports_the_balancer_without_the_library(run, kind):
    with connect(python_server(run, kind, plain=True).port) as client:
        answer = parse(exchange(client, v1()))
        me = name(client.getsockname())
    assert answer == (me, me, "", v1())


# ---- vsftpd ----

@pytest.fixture
def vsftpd(run, tmp_path):
    """vsftpd(**variables): its port and its log."""
    program = find("vsftpd", "vsftpd")

    def start(**variables):
        log, config = tmp_path / "vsftpd.log", tmp_path / "vsftpd.conf"
        port = free_port()
        config.write_text(f"""\
background=NO
listen=YES
listen_address=127.0.0.1
listen_port={port}
run_as_launching_user=YES
anonymous_enable=YES
local_enable=NO
xferlog_enable=YES
vsftpd_log_file={log}
secure_chroot_dir={tmp_path}
""")
        process = run([program, config], environment(**variables))
        eventually(lambda: listens(port) or process.process.poll() is not None, "vsftpd listens")
        return port, log
    return start


def connected_from(port, log, *header):
    """The client in vsftpd's log, and the port our own socket had."""
    with connect(port, source="127.1.2.3") as client:
        client.sendall(b"".join(header) + b"QUIT\r\n")
        greeting = read_all(client)
    line = eventually(lambda: re.search(r'CONNECT: Client "([^"]*)"', log.exists() and log.read_text() or ""),
                      "vsftpd logs the client")
    return greeting, line[1]


@headers
def test_vsftpd_logs_the_client(vsftpd, header):
    greeting, client = connected_from(*vsftpd(), header)
    assert client.removeprefix("::ffff:") == "203.0.113.7"
    assert greeting.startswith(b"220 ") and b"\r\n221 " in greeting


def test_vsftpd_logs_the_balancer_without_the_library(vsftpd):
    greeting, client = connected_from(*vsftpd(plain=True), v1())
    assert client.removeprefix("::ffff:") == "127.1.2.3"
    assert greeting.startswith(b"220 ")


# ---- dovecot: a listener that is inherited, a login process that passes the connection on ----

DOVECOT = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
mail_location = maildir:{folder}/mail
default_login_user = {login}
default_internal_user = {internal}
import_environment = TZ LD_PRELOAD TRUEPEER_TRUST ASAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={mail} gid={mail_group} home={folder}/home
}}
"""


@pytest.fixture
def dovecot(run, open_folder, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("a dovecot with all its users needs root")
    program = find("dovecot", "dovecot-imapd")
    if not Path("/usr/lib/dovecot/imap").exists():
        pytest.skip("dovecot's imap is not here (Debian package dovecot-imapd)")

    def start(plain=False):
        if not plain:
            monkeypatch.setattr(harness, "LIBRARY", shutil.copy(harness.LIBRARY, open_folder))
        mail = pwd.getpwnam("mail")
        port = free_port()
        config = open_folder / "dovecot.conf"
        config.write_text(DOVECOT.format(folder=open_folder, port=port, login="dovenull", internal="dovecot",
                                         mail=mail.pw_uid, mail_group=mail.pw_gid))
        for made in "mail", "home":
            (open_folder / made).mkdir()
            os.chown(open_folder / made, mail.pw_uid, mail.pw_gid)
        process = run([program, "-F", "-c", config], environment(plain), folder=open_folder)
        eventually(lambda: listens(port) or process.process.poll() is not None, "dovecot listens")
        return port, open_folder / "log"
    return start


def login(port, log, header=b""):
    """The address that dovecot logs for a login."""
    with connect(port, source="127.1.2.3") as client:
        client.sendall(header + b"a LOGIN user secret\r\nb LOGOUT\r\n")
        talk = read_all(client)
    assert b"\r\nb OK" in talk, f"{talk}\n{log.read_text()}"
    return eventually(lambda: re.search(r"Login: user=<user>.* rip=([^,]*),", log.read_text()), "a login")[1]


@headers
def test_dovecot_logs_the_client(dovecot, header):
    assert login(*dovecot(), header) == "203.0.113.7"


def test_dovecot_logs_the_balancer_without_the_library(dovecot):
    assert login(*dovecot(plain=True)) == "127.1.2.3"
