# SPDX-License-Identifier: MIT
"""GLib's GSocketService: poll in a main loop."""

PACKAGES = ["python3-gi", "gir1.2-glib-2.0"]
PORT = 7000
VARIANTS = ["loop", "threads"]
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    program = place.write("/tmp/server.py", """\
import sys
from gi.repository import Gio, GLib

def answer(client):
    peer = client.get_remote_address()
    client.get_output_stream().write(f"client={peer.get_address().to_string()} port={peer.get_port()}\\n".encode())
    client.close()

def serve(service, client, source):
    client.get_input_stream().read_bytes_async(100, 0, None, lambda *ignored: answer(client))
    return True

def run(service, client, source):
    client.get_input_stream().read_bytes(100)
    answer(client)
    return True

if sys.argv[1] == "threads":
    service = Gio.ThreadedSocketService.new(10)
    service.connect("run", run)
else:
    service = Gio.SocketService()
    service.connect("incoming", serve)
address = Gio.InetSocketAddress.new_from_string(sys.argv[2], 7000)
service.add_address(address, Gio.SocketType.STREAM, Gio.SocketProtocol.TCP, None)
GLib.MainLoop().run()
""")
    return ["python3", "-B", program, place.variant, place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
