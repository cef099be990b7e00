# SPDX-License-Identifier: MIT
"""PHP's own web server: poll (select), one process."""

PACKAGES = ["php-cli"]
PORT = 8000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    program = place.write("/tmp/index.php", """\
client=<?php echo $_SERVER['REMOTE_ADDR']; ?> port=<?php echo $_SERVER['REMOTE_PORT'], "\\n"; ?>
""")
    return ["php", "-S", "[::]:8000" if place.six else "0.0.0.0:8000", program]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
