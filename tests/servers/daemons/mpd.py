# SPDX-License-Identifier: MIT
"""MPD: epoll, non-blocking."""

PACKAGES = ["mpd"]
PORT = 6600
SEEN = r"\[\d+\] (?:opened from|client connected:?) \[?ADDRESS\]?:PORT"
SIX = "only"


def start(place):
    return ["mpd", "--no-daemon", "--stderr", "--verbose", place.write("/etc/mpd.test", f"""\
bind_to_address "{place.listen}"
port "6600"
max_connections "100"
log_level "verbose"
""")]


def session(talk):
    talk.until(r"OK MPD .*\n")
    talk.say("close\n")
