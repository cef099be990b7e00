# SPDX-License-Identifier: MIT
"""vsftpd: a blocking accept, then a process for each session."""

PACKAGES = ["vsftpd"]
PORT = 21
SEEN = r'CONNECT: Client "ADDRESS"'
LOG = "/var/log/vsftpd.log"
CORE = True


def start(place):
    place.use_unit("vsftpd")
    listen = "listen=NO\nlisten_ipv6=YES" if place.six else "listen=YES\nlisten_ipv6=NO"
    return ["vsftpd", place.write("/etc/vsftpd.conf", f"""\
{listen}
background=NO
anonymous_enable=YES
xferlog_enable=YES
vsftpd_log_file={LOG}
secure_chroot_dir=/run
""")]


def session(talk):
    talk.until(r"220 .*\r\n")
    talk.say("QUIT\r\n")
    talk.until(r"221 .*\r\n")
