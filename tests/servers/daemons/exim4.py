# SPDX-License-Identifier: MIT
"""Exim: select on its listeners, then a process for each session; it asks getpeername."""

PACKAGES = ["exim4-daemon-light"]
PORT = 25
SEEN = r"250-server.test Hello mx.test \[ADDRESS\]"


def start(place):
    return ["exim4", "-bdf", "-C", place.write("/etc/exim4/test.conf", f"""\
primary_hostname = server.test
local_interfaces = <; {place.listen}
daemon_smtp_ports = 25
disable_ipv6 = {"false" if place.six else "true"}
host_lookup =
rfc1413_hosts = *
""")]


def session(talk):
    talk.until(r"220 .*\r\n")
    talk.say("EHLO mx.test\r\n")
    talk.until(r"250 HELP\r\n")
    talk.say("QUIT\r\n")
    talk.until(r"221 .*\r\n")
