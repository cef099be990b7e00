# SPDX-License-Identifier: MIT
"""Gunicorn: workers that share a listener: with one thread, in select; with several, in epoll; with libev."""

PACKAGES = ["gunicorn", "python3-gevent"]
PORT = 8000
VARIANTS = ["sync", "gthread", "gevent"]
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    place.write("/tmp/app.py", """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"client={environ['REMOTE_ADDR']} port={environ['REMOTE_PORT']}\\n".encode()]
""")
    threads = ["--threads", "2"] if place.variant == "gthread" else []
    listen = "[::]:8000" if place.six else "0.0.0.0:8000"
    return ["gunicorn", "--chdir", "/tmp", "-k", place.variant, *threads, "-w", "2", "-b", listen, "app:app"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
