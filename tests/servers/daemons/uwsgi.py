# SPDX-License-Identifier: MIT
"""uWSGI's HTTP server: workers in epoll with a lock around accept."""

PACKAGES = ["uwsgi-core", "uwsgi-plugin-python3"]
PORT = 8000
SEEN = r"client=ADDRESS port="
CLIENT_FIRST = True


def start(place):
    place.write("/tmp/app.py", """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"client={environ['REMOTE_ADDR']} port={environ.get('REMOTE_PORT', '')}\\n".encode()]
""")
    listen = "[::]:8000" if place.six else "0.0.0.0:8000"
    return ["uwsgi", "--plugin", "python3", "--http-socket", listen, "--master", "--processes", "2",
            "--chdir", "/tmp", "--module", "app"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
