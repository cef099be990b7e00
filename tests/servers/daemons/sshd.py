# SPDX-License-Identifier: MIT
"""OpenSSH: a process for each connection, which executes sshd anew, and a seccomp sandbox before
the login.  Who the client is it says when the client leaves."""

PACKAGES = ["openssh-server"]
PORT = 22
SEEN = r"Connection closed by ADDRESS port PORT"
SIX = "only"
CORE = True


def start(place):
    place.use_unit("ssh")
    place.path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    if not place.path("/etc/ssh/ssh_host_ed25519_key").exists():
        place.run("ssh-keygen", "-A")
    listen = "[::]:22" if place.six else "0.0.0.0:22"
    return ["/usr/sbin/sshd", "-D", "-e", "-f", place.write("/etc/ssh/test_config", f"""\
ListenAddress {listen}
MaxStartups 100
LogLevel VERBOSE
""")]


def session(talk):
    talk.until(r"SSH-2.0-.*\r\n")
    talk.say("SSH-2.0-test\r\n")
    talk.until(rb"ssh-ed25519")
    talk.close()
