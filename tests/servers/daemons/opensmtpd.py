# SPDX-License-Identifier: MIT
"""OpenSMTPD: libevent; the process that accepts is not the one that opened the listener."""

PACKAGES = ["opensmtpd"]
PORT = 25
SEEN = r"smtp connected address=ADDRESS "
SIX = "only"


def start(place):
    family = "inet6" if place.six else "inet4"
    place.write("/etc/smtpd.conf", f"""\
listen on lo {family} port 25 hostname server.test
action "local" mbox
match for local action "local"
""", 0o600)
    return ["smtpd", "-d"]


def session(talk):
    talk.until(r"220 .*\r\n")
    talk.say("EHLO mx.test\r\n")
    talk.until(r"250 HELP\r\n")
    talk.say("QUIT\r\n")
    talk.until(r"221 .*\r\n")
