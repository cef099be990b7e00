# SPDX-License-Identifier: MIT
"""PHP-FPM: processes that block in accept, one client at a time; FastCGI."""

PACKAGES = ["php-fpm"]
PORT = 9000
SEEN = r"client=ADDRESS;"
LOG = "/tmp/access.log"
CLIENT_FIRST = True


def start(place):
    program = next(place.path("/usr/sbin").glob("php-fpm*")).name
    place.write("/srv/index.php", "<?php echo 'hello';")
    return [program, "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", place.write("/etc/fpm.test", f"""\
[global]
error_log = /dev/stderr
[www]
user = www-data
group = www-data
listen = {"[::]" if place.six else "0.0.0.0"}:9000
pm = static
pm.max_children = 4
access.log = {LOG}
access.format = "client=%R;"
""")]


def record(kind, text):
    return bytes([1, kind, 0, 1]) + len(text).to_bytes(2, "big") + b"\0\0" + text


def session(talk):
    variables = {"SCRIPT_FILENAME": "/srv/index.php", "REQUEST_METHOD": "GET", "SCRIPT_NAME": "/index.php"}
    words = b"".join(bytes([len(name), len(value)]) + name.encode() + value.encode()
                     for name, value in variables.items())
    talk.say(record(1, b"\0\1\0\0\0\0\0\0") + record(4, words) + record(4, b"") + record(5, b""))
    talk.until(rb"hello")
