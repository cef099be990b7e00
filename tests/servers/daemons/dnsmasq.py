# SPDX-License-Identifier: MIT
"""dnsmasq: poll, beside UDP; DNS over TCP, a process for each client."""

PACKAGES = ["dnsmasq-base"]
PORT = 53
SEEN = r"ADDRESS/PORT query\[A\] server\.test"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    return ["dnsmasq", "--keep-in-foreground", "--no-hosts", "--no-resolv", "--user=root", "--log-queries=extra",
            "--log-facility=-", "--conf-file=/dev/null", "--bind-interfaces",
            f"--listen-address={'fd00::21' if place.six else '10.0.0.21'}", "--address=/server.test/10.0.0.21"]


def session(talk):
    query = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\6server\4test\0\0\1\0\1"
    talk.say(len(query).to_bytes(2, "big") + query)
    talk.until(rb"\x12\x34")
