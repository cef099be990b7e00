# SPDX-License-Identifier: MIT
"""Mosquitto (MQTT): epoll, non-blocking."""

PACKAGES = ["mosquitto"]
PORT = 1883
SIX = "only"
SEEN = r"New client connected from ADDRESS:PORT as test"
CLIENT_FIRST = True


def start(place):
    return ["mosquitto", "-c", place.write("/etc/mosquitto/test.conf", f"""\
listener 1883 {place.listen}
allow_anonymous true
log_dest stderr
user nobody
""")]


def session(talk):
    talk.say(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test")
    talk.until(rb"\x20\x02..")
    talk.say(b"\xe0\x00")
