# SPDX-License-Identifier: MIT
"""Exim: poll on its listeners, then a process for each session; it asks getpeername.  SIGHUP makes it
execute itself anew, in secure execution and without its environment."""

import contextlib
import re
import socket

from harness import eventually
from place import SERVER4

PACKAGES = ["exim4-daemon-light"]
PORT = 25
SECURE = True
SEEN = r"250-server.test Hello mx.test \[ADDRESS\]"
MAIN_LOG = "/var/log/exim4/mainlog"


def start(place):
    place.write("/etc/exim4/exim4.conf.localmacros", f"""\
MAIN_HARDCODE_PRIMARY_HOSTNAME = server.test
MAIN_LOCAL_INTERFACES = <; {place.listen}
{place.recipe("exim4.conf.localmacros")}
""")
    place.install_for_secure_execution()
    place.write("/etc/truepeer.rules", place.recipe("exim4.rules"))
    place.use_unit("exim4")
    place.run("update-exim4.conf")
    return ["exim4", "-bdf"]


def reload(place):
    def started():
        log = place.path(MAIN_LOG)
        return log.exists() and re.findall(r"daemon started: pid=(\d+)", log.read_text())
    before = eventually(started, "Exim has started")
    place.signal("HUP", before[-1])
    with contextlib.suppress(OSError):  # for its poll, which a signal shortly before does not wake
        socket.create_connection((SERVER4, PORT)).close()
    eventually(lambda: len(started()) > len(before), "Exim has started anew")


def session(talk):
    talk.until(r"220 .*\r\n")
    talk.say("EHLO mx.test\r\n")
    talk.until(r"250 HELP\r\n")
    talk.say("QUIT\r\n")
    talk.until(r"221 .*\r\n")
