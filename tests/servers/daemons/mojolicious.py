# SPDX-License-Identifier: MIT
"""Mojolicious (Perl): poll in one process, or in several that share the listener."""

PACKAGES = ["libmojolicious-perl"]
PORT = 8000
VARIANTS = ["daemon", "prefork"]
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    program = place.write("/tmp/app.pl", """\
use Mojolicious::Lite;
get '/' => sub {
    my $c = shift;
    $c->render(text => sprintf("client=%s port=%d\\n", $c->tx->remote_address, $c->tx->remote_port));
};
app->start;
""")
    return ["perl", program, place.variant, "-m", "production", "-l",
            "http://[::]:8000" if place.six else "http://0.0.0.0:8000"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
