# SPDX-License-Identifier: MIT
"""rsyslog's imtcp: epoll (or select), non-blocking."""

PACKAGES = ["rsyslog"]
PORT = 514
SEEN = r"from ADDRESS: hello"
LOG = "/var/log/test"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    return ["rsyslogd", "-n", "-i", "/run/rsyslogd.pid", "-f", place.write("/etc/rsyslog.test", f"""\
module(load="imtcp")
template(name="told" type="string" string="from %fromhost-ip%: %msg%\\n")
input(type="imtcp" port="514" address="{place.listen}")
*.* action(type="omfile" file="{LOG}" template="told")
""")]


def session(talk):
    talk.say("<13>Nov 21 05:00:00 host tag:hello\n")
