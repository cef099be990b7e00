# SPDX-License-Identifier: MIT
"""memcached: libevent hands each connection to a thread; "stats conns" asks getpeername."""

PACKAGES = ["memcached"]
PORT = 11211
SEEN = r"addr tcp6?:ADDRESS:PORT\r\nSTAT \d+:listen_addr \S+\r\nSTAT \d+:state conn_parse_cmd"
SIX = "only"
CLIENT_FIRST = True


def start(place):
    return ["memcached", "-u", "nobody", "-p", PORT, "-l", place.listen]


def session(talk):
    talk.say("stats conns\r\n")
    talk.until(r"END\r\n")
