# SPDX-License-Identifier: MIT
"""Munin's node (Perl's Net::Server::Fork): a process for each client."""

PACKAGES = ["munin-node"]
PORT = 4949
SEEN = r'Peer: "\[?ADDRESS\]?:PORT"'
LOG = "/tmp/munin.log"
SIX = "only"


def start(place):
    return ["munin-node", "--config", place.write("/etc/munin/test.conf", f"""\
log_file {LOG}
log_level 4
pid_file /tmp/munin.pid
background 0
setsid 0
user root
group root
host_name server.test
cidr_allow 0.0.0.0/0
cidr_allow ::/0
host {"[::]" if place.six else "0.0.0.0"}
port 4949
""")]


def session(talk):
    talk.until(r"# munin node at .*\n")
    talk.say("quit\n")
