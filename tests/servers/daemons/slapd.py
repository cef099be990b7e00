# SPDX-License-Identifier: MIT
"""OpenLDAP: a blocking listener in epoll."""

PACKAGES = ["slapd", "ldap-utils"]
PORT = 389
SEEN = r"ACCEPT from IP=ADDRESS:PORT "
CLIENT_FIRST = True
SIX = "only"


def start(place):
    host = "[::]" if place.six else "0.0.0.0"
    return ["slapd", "-d", "256", "-h", f"ldap://{host}:389/", "-f", place.write("/etc/ldap/test.conf", """\
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
""")]


def session(talk):
    talk.say(bytes.fromhex("300c020101600702010304008000"))  # an anonymous bind
    talk.until(rb"\x0a\x01\x00\x04\x00\x04\x00")
