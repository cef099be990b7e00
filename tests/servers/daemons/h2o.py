# SPDX-License-Identifier: MIT
"""H2O: threads in edge-triggered epoll."""

PACKAGES = ["h2o"]
PORT = 8000
SEEN = r"client=ADDRESS port=PORT;"
LOG = "/tmp/access.log"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    return ["h2o", "-c", place.write("/etc/h2o/test.conf", f"""\
listen:
  host: "{place.listen}"
  port: 8000
num-threads: 2
user: root
hosts:
  default:
    paths:
      /:
        file.dir: /var/www
    access-log:
      path: {LOG}
      format: "client=%h port=%{{remote}}p;"
""")]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"HTTP/1\.1 ")
    talk.rest()
