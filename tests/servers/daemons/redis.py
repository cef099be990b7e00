# SPDX-License-Identifier: MIT
"""redis: one thread, epoll, inet_ntop of accept's address; CLIENT INFO asks getpeername."""

PACKAGES = ["redis-server"]
PORT = 6379
SEEN = r" addr=ADDRESS:PORT "
SIX = "only"
CLIENT_FIRST = True
CORE = True


def start(place):
    return ["redis-server", "--port", PORT, "--bind", place.listen, "--save", "", "--protected-mode", "no"]


def session(talk):
    talk.say("CLIENT INFO\r\n")
    talk.until(r" addr=.*\n")
