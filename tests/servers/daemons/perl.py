# SPDX-License-Identifier: MIT
"""Perl: IO::Socket::IP, a process for each client."""

PACKAGES = ["perl"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    program = place.write("/tmp/server.pl", """\
use strict;
use warnings;
use IO::Socket::IP;
$SIG{CHLD} = 'IGNORE';
my $server = IO::Socket::IP->new(LocalHost => $ARGV[0], LocalPort => 7000, Listen => 50, ReuseAddr => 1, V6Only => 0)
    or die $@;
while (1) {
    my $client = $server->accept or next;
    if (!fork) {
        readline $client;
        printf $client "client=%s port=%d\\n", $client->peerhost, $client->peerport;
        exit;
    }
}
""")
    return ["perl", program, place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
