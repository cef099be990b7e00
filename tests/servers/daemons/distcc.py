# SPDX-License-Identifier: MIT
"""distccd: processes that block in accept on one listener, which it defers (TCP_DEFER_ACCEPT)."""

PACKAGES = ["distcc"]
PORT = 3632
SEEN = r"connection from ADDRESS:PORT"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    return ["distccd", "--no-detach", "--daemon", "--verbose", "--log-stderr", "--allow", "0.0.0.0/0", "--allow", "::/0",
            "--listen", place.listen, "--user", "nobody", "-j", "12", "--make-me-a-botnet"]


def session(talk):
    talk.say("DIST00000009ARGC00000000")
