# SPDX-License-Identifier: MIT
"""Ruby: TCPServer with a thread for each client."""

PACKAGES = ["ruby"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    program = place.write("/tmp/server.rb", """\
require 'socket'
listener = Socket.new(ARGV[0].include?(':') ? :INET6 : :INET, :STREAM)
listener.setsockopt(:SOCKET, :REUSEADDR, true)
listener.setsockopt(:IPV6, :V6ONLY, false) if ARGV[0].include?(':')
listener.bind(Addrinfo.tcp(ARGV[0], 7000))
listener.listen(50)
server = TCPServer.for_fd(listener.fileno)
loop do
  Thread.new(server.accept) do |client|
    client.gets
    address = client.peeraddr(false)
    client.write("client=#{address[3]} port=#{address[1]}\\n")
    client.close
  end
end
""")
    return ["ruby", program, place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
