# SPDX-License-Identifier: MIT
"""Node.js (libuv, epoll): one process, and a cluster, whose master passes the connections on."""

PACKAGES = ["nodejs"]
PORT = 7000
VARIANTS = ["http", "cluster"]
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True
CORE = True


def start(place):
    program = place.write("/tmp/server.js", """\
const cluster = require('cluster');
if (process.argv[2] == 'cluster' && cluster.isPrimary) {
    cluster.fork();
    cluster.fork();
} else {
    require('http').createServer((request, response) => {
        const socket = request.socket;
        response.end('client=' + socket.remoteAddress + ' port=' + socket.remotePort + '\\n');
    }).listen(7000, process.argv[3]);
}
""")
    return ["node", program, place.variant, place.listen]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
