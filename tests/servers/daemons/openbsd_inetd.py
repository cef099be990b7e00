# SPDX-License-Identifier: MIT
"""OpenBSD's inetd: libevent with a blocking listener; it accepts without the library, which the service,
executed, is loaded with.  (inetd takes LD_PRELOAD out of the environment.)"""

PACKAGES = ["openbsd-inetd", "rsync"]
PORT = 873
SEEN = r"connect from \S+ \(ADDRESS\)"
LOG = "/var/log/rsync.log"
SIX = "only"


def start(place):
    place.write("/etc/rsyncd.conf", f"log file = {LOG}\nreverse lookup = no\n")
    place.variables = {}
    line = place.recipe("inetd") or "rsync stream tcp nowait root /usr/bin/rsync rsync --daemon"
    listen = f"{place.listen}:873 stream {'tcp6' if place.six else 'tcp4'} nowait.400 "
    return ["inetd", "-i", place.write("/etc/inetd.test", line.replace("TRUEPEER_TRUST", place.also("TRUEPEER_{}={} ") + "TRUEPEER_TRUST").replace("rsync stream tcp nowait ", listen))]


def session(talk):
    talk.until(r"@RSYNCD: .*\n")
    talk.say("@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n#list\n")
    talk.until(r"@RSYNCD: EXIT\n")
