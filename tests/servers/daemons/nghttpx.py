# SPDX-License-Identifier: MIT
"""nghttpx: libev; one thread accepts and hands the connections to others."""

PACKAGES = ["nghttp2-proxy"]
PORT = 8000
SEEN = r"client=ADDRESS port=PORT;"
LOG = "/tmp/access.log"
CLIENT_FIRST = True
SIX = None


def start(place):
    return ["nghttpx", "--conf=/dev/null", "--frontend=0.0.0.0,8000;no-tls",
            "--backend=127.0.0.1,1", "--workers=2", f"--accesslog-file={LOG}",
            "--accesslog-format=client=$remote_addr port=$remote_port;"]


def session(talk):
    talk.say("GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n")
    talk.until(r"HTTP/1\.1 50")
    talk.rest()
