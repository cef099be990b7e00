# SPDX-License-Identifier: MIT
"""tinyproxy: poll with a blocking listener, a thread for each client."""

PACKAGES = ["tinyproxy"]
PORT = 8888
SIX = "only"
SEEN = r"Connect \(file descriptor \d+\): ADDRESS\b"
CLIENT_FIRST = True


def start(place):
    return ["tinyproxy", "-d", "-c", place.write("/etc/tinyproxy/test.conf", f"""\
User nobody
Group nogroup
Port 8888
Listen {place.listen}
Timeout 10
LogLevel Connect
MaxClients 40
""")]


def session(talk):
    talk.say("GET http://127.0.0.1:1/ HTTP/1.0\r\n\r\n")
    talk.until(r"HTTP/1\.. 50")
