# SPDX-License-Identifier: MIT
"""rsync's daemon: select with a blocking listener for each family, then a process for each client."""

PACKAGES = ["rsync"]
PORT = 873
SEEN = r"connect from \S+ \(ADDRESS\)"
LOG = "/var/log/rsync.log"
SIX = "only"


def start(place):
    place.write("/etc/rsyncd.conf", f"log file = {LOG}\nreverse lookup = no\n")
    return ["rsync", "--daemon", "--no-detach", f"--address={place.listen}", "-6" if place.six else "-4"]


def session(talk):
    talk.until(r"@RSYNCD: .*\n")
    talk.say("@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n#list\n")
    talk.until(r"@RSYNCD: EXIT\n")
