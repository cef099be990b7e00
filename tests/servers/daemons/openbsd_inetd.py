# SPDX-License-Identifier: MIT
"""OpenBSD's inetd: libevent with a blocking listener; it accepts, and the service, executed without
LD_PRELOAD unless its line puts it back, asks getpeername.  The services: a script, and ftpd and telnetd behind tcpd (TCP wrappers)."""

PACKAGES = ["openbsd-inetd", "inetutils-ftpd", "inetutils-telnetd", "tcpd"]
VARIANTS = ["script", "ftpd", "telnetd"]
PORT = 21
SEEN = r"connect from ADDRESS"
SIX = "only"

SERVICES = {"script": "/tmp/service", "ftpd": "/usr/sbin/tcpd /usr/sbin/ftpd -l",
            "telnetd": "/usr/sbin/tcpd /usr/sbin/telnetd"}
SCRIPT = """\
#!/usr/bin/perl
use Socket qw(:all);
my ($error, $host) = getnameinfo(getpeername(STDIN), NI_NUMERICHOST, NIx_NOSERV);
print "220 connect from $host\\r\\n";
"""


def start(place):
    place.write("/tmp/service", SCRIPT, 0o755)
    line = place.recipe("inetd") or "ftp stream tcp nowait root /usr/bin/env env SERVICE"
    line = line.replace("ftp stream tcp nowait", f"{place.listen}:21 stream {'tcp6' if place.six else 'tcp4'} nowait.400")
    command = "/usr/sbin/tcpd /usr/sbin/ftpd -l"
    assert place.plain or command in line
    line = line.replace("SERVICE", command).replace(command, SERVICES[place.variant])
    return ["inetd", "-i", place.write("/etc/inetd.test", line)]


def session(talk):
    talk.until(rb"220 .*\r\n|\xff.")  # telnetd begins with options
