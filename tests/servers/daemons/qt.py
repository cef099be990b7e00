# SPDX-License-Identifier: MIT
"""Qt's QTcpServer: poll, non-blocking."""

PACKAGES = ["python3-pyqt5"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True


def start(place):
    program = place.write("/tmp/server.py", """\
import sys
from PyQt5.QtCore import QCoreApplication
from PyQt5.QtNetwork import QHostAddress, QTcpServer

app, server = QCoreApplication(sys.argv), QTcpServer()

def answer(client):
    client.readAll()
    client.write(f"client={client.peerAddress().toString()} port={client.peerPort()}\\n".encode())
    client.disconnectFromHost()

def serve():
    while server.hasPendingConnections():
        client = server.nextPendingConnection()
        client.readyRead.connect(lambda client=client: answer(client))
        client.disconnected.connect(client.deleteLater)

server.newConnection.connect(serve)
server.listen(QHostAddress(QHostAddress.Any) if ":" in sys.argv[1] else QHostAddress(sys.argv[1]), 7000)
app.exec_()
""")
    return ["python3", "-B", program, place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
