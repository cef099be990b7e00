# SPDX-License-Identifier: MIT
"""Unicorn: worker processes of one thread in select on one listener, which it defers (TCP_DEFER_ACCEPT)."""

PACKAGES = ["unicorn"]
PORT = 8000
SEEN = r"client=ADDRESS\n"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    place.write("/tmp/config.ru", """\
run ->(env) { [200, {}, ["client=#{env['REMOTE_ADDR']}\\n"]] }
""")
    listen = "[::]:8000" if place.six else "0.0.0.0:8000"
    return ["unicorn", "-l", listen, "-c", place.write("/tmp/unicorn.rb", "worker_processes 2\n"), "/tmp/config.ru"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
