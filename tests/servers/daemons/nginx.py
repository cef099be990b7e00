# SPDX-License-Identifier: MIT
"""nginx: worker processes, accept4 on a non-blocking listener in epoll."""

PACKAGES = ["nginx"]
PORT = 80
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
CORE = True


def start(place):
    listen = "[::]:80 ipv6only=off" if place.six else "0.0.0.0:80"
    return ["nginx", "-c", place.write("/etc/nginx/test.conf", f"""\
daemon off;
user www-data;
worker_processes 2;
events {{ }}
http {{
    server {{
        listen {listen};
        return 200 "client=$remote_addr port=$remote_port\\n";
    }}
}}
""")]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
