# SPDX-License-Identifier: MIT
"""lighttpd: one process, accept4 on a non-blocking listener in epoll."""

PACKAGES = ["lighttpd"]
PORT = 80
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    six = '[::]' if place.six else '0.0.0.0'
    return ["lighttpd", "-D", "-f", place.write("/etc/lighttpd/test.conf", f"""\
server.modules = ( "mod_accesslog" )
server.document-root = "/var/www/html"
server.port = 80
server.bind = "{six}"
server.set-v6only = "disable"
server.username = "www-data"
accesslog.use-syslog = "enable"
accesslog.format = "client=%h port=%{{remote}}p"
""")]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.rest()  # it writes its log when the connection ends
