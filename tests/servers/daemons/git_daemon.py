# SPDX-License-Identifier: MIT
"""git's daemon: poll with a blocking listener; a process, executed, for each client."""

PACKAGES = ["git"]
PORT = 9418
SEEN = r"Connection from \[?ADDRESS\]?:PORT"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    return ["git", "daemon", "--verbose", "--reuseaddr", f"--listen={place.listen}", "--base-path=/srv", "/srv"]


def session(talk):
    request = b"git-upload-pack /none\0host=server.test\0"
    talk.say(b"%04x" % (len(request) + 4) + request)
    talk.until(r"ERR access denied")
