# SPDX-License-Identifier: MIT
"""Tcl: a thread in select tells the one that accepts."""

PACKAGES = ["tcl"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    program = place.write("/tmp/server.tcl", """\
proc serve {client address port} {
    fconfigure $client -blocking 0 -translation lf
    fileevent $client readable [list answer $client $address $port]
}
proc answer {client address port} {
    if {[gets $client] ne ""} {
        puts $client "client=$address port=$port"
        close $client
    } elseif {[eof $client]} {
        close $client
    }
}
socket -server serve -myaddr [lindex $argv 0] 7000
vwait forever
""")
    return ["tclsh", program, place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
