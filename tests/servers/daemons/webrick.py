# SPDX-License-Identifier: MIT
"""WEBrick: select, a thread for each client."""

PACKAGES = ["ruby", "ruby-webrick"]
PORT = 8000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    program = place.write("/tmp/server.rb", """\
require 'webrick'
server = WEBrick::HTTPServer.new(BindAddress: ARGV[0], Port: 8000, DoNotReverseLookup: true)
server.mount_proc('/') do |request, response|
  response.body = "client=#{request.peeraddr[3]} port=#{request.peeraddr[1]}\\n"
end
server.start
""")
    return ["ruby", program, place.listen]


def session(talk):
    talk.say("GET / HTTP/1.0\r\nHost: server.test\r\n\r\n")
    talk.until(r"client=.*\n")
