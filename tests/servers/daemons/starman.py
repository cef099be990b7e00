# SPDX-License-Identifier: MIT
"""Starman (Perl's Net::Server::PreFork): processes that block in accept on one listener."""

PACKAGES = ["starman"]
PORT = 8000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
SIX = None


def start(place):
    program = place.write("/tmp/app.psgi", """\
sub { my $env = shift; [200, [], ["client=$env->{REMOTE_ADDR} port=$env->{REMOTE_PORT}\\n"]] };
""")
    return ["starman", "--workers", "4", "--listen", "0.0.0.0:8000", program]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
