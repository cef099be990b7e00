# SPDX-License-Identifier: MIT
"""ProFTPD: select, then a process for each session."""

PACKAGES = ["proftpd-core"]
PORT = 21
SEEN = r"client=ADDRESS\n"
LOG = "/var/log/proftpd.log"


def start(place):
    return ["proftpd", "-n", "-q", "-c", place.write("/etc/proftpd.conf", f"""\
ServerName test
ServerType standalone
UseIPv6 {"on" if place.six else "off"}
DefaultAddress {place.listen}
Port 21
User nobody
Group nogroup
UseReverseDNS off
LogFormat client "client=%a"
ExtendedLog {LOG} ALL client
""")]


def session(talk):
    talk.until(r"220 .*\r\n")
    talk.say("QUIT\r\n")
    talk.until(r"221 .*\r\n")
