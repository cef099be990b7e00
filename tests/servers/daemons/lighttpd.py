# SPDX-License-Identifier: MIT
"""lighttpd: one process, accept4 on a non-blocking listener in epoll."""

PACKAGES = ["lighttpd"]
PORT = 80
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    place.write("/srv/index.shtml", 'client=<!--#echo var="REMOTE_ADDR"--> port=<!--#echo var="REMOTE_PORT"-->\n')
    return ["lighttpd", "-D", "-f", place.write("/etc/lighttpd/test.conf", f"""\
server.modules = ( "mod_ssi" )
server.document-root = "/srv"
server.port = 80
server.bind = "{"[::]" if place.six else "0.0.0.0"}"
server.set-v6only = "disable"
server.username = "www-data"
ssi.extension = ( ".shtml" )
""")]


def session(talk):
    talk.say("GET /index.shtml HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
