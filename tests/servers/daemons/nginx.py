# SPDX-License-Identifier: MIT
"""nginx: worker processes, accept4 on a non-blocking listener in epoll.  It goes on in the background, as
its service does: after an upgrade of the program the first process has ended."""

from harness import eventually

PACKAGES = ["nginx"]
PORT = 80
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
CORE = True
PID = "/run/nginx.pid"


def start(place):
    listen = "[::]:80 ipv6only=off" if place.six else "0.0.0.0:80"
    place.write("/etc/nginx/test.conf", f"""\
user www-data;
worker_processes 2;
{place.recipe("nginx.conf")}{place.also("env TRUEPEER_{};")}
events {{ }}
http {{
    server {{
        listen {listen};
        return 200 "client=$remote_addr port=$remote_port\\n";
    }}
}}
""")
    return ["sh", "-ec", "/usr/sbin/nginx -c /etc/nginx/test.conf; exec sleep infinity"]


def reload(place):
    """As Debian upgrades nginx."""
    old, new = place.path(PID + ".oldbin"), place.path(PID)

    def number():
        return new.exists() and new.read_text().strip()
    master = eventually(number, "its number is there")

    def both():
        place.signal("USR2", master)  # ignored while the one before it, its parent, has not quite ended
        return old.exists() and number()
    eventually(both, "both are running")
    place.signal("QUIT", master)
    eventually(lambda: not old.exists(), "the old one has ended")


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
