# SPDX-License-Identifier: MIT
"""Uvicorn with uvloop: libuv."""

PACKAGES = ["python3-uvicorn", "python3-uvloop"]
PORT = 8000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    place.write("/tmp/app.py", """\
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    host, port = scope["client"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": f"client={host} port={port}\\n".encode()})
""")
    return ["python3", "-B", "-m", "uvicorn", "--app-dir", "/tmp", "--loop", "uvloop", "--host", place.listen,
            "--port", PORT, "--no-proxy-headers", "--lifespan", "off", "app:app"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
