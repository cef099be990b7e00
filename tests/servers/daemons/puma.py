# SPDX-License-Identifier: MIT
"""Puma: worker processes in select on one listener, each with threads."""

PACKAGES = ["puma"]
PORT = 8000
VARIANTS = ["single", "cluster"]
SEEN = r"client=ADDRESS\n"
CLIENT_FIRST = True


def start(place):
    place.write("/tmp/config.ru", """\
run ->(env) { [200, {}, ["client=#{env['puma.socket'].peeraddr(false)[3]}\\n"]] }
""")
    listen = "[::]" if place.six else "0.0.0.0"
    return ["puma", "--dir", "/tmp", "-b", f"tcp://{listen}:8000", "-e", "production",
            "-w", "2" if place.variant == "cluster" else "0", "/tmp/config.ru"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
