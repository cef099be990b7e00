# SPDX-License-Identifier: MIT
"""Java: a blocking ServerSocket, and NIO with a Selector (epoll)."""

PACKAGES = ["openjdk-17-jdk-headless"]
PORT = 7000
VARIANTS = ["socket", "nio"]
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True

SERVER = """\
import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;

public class Server {
    static byte[] report(SocketAddress address) {
        InetSocketAddress peer = (InetSocketAddress) address;
        return ("client=" + peer.getAddress().getHostAddress() + " port=" + peer.getPort() + "\\n").getBytes();
    }

    static void socket(InetSocketAddress address) throws IOException {
        ServerSocket server = new ServerSocket(address.getPort(), 50, address.getAddress());
        while (true) {
            Socket client = server.accept();
            new Thread(() -> {
                try (client) {
                    new BufferedReader(new InputStreamReader(client.getInputStream())).readLine();
                    client.getOutputStream().write(report(client.getRemoteSocketAddress()));
                } catch (IOException e) {
                }
            }).start();
        }
    }

    static void nio(InetSocketAddress address) throws IOException {
        Selector selector = Selector.open();
        ServerSocketChannel server = ServerSocketChannel.open().bind(address);
        server.configureBlocking(false);
        server.register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select();
            for (SelectionKey key : selector.selectedKeys()) {
                if (key.isAcceptable()) {
                    SocketChannel client = server.accept();
                    if (client == null)
                        continue;
                    client.configureBlocking(false);
                    client.register(selector, SelectionKey.OP_READ);
                    continue;
                }
                SocketChannel client = (SocketChannel) key.channel();
                if (client.read(ByteBuffer.allocate(4096)) > 0)
                    client.write(ByteBuffer.wrap(report(client.getRemoteAddress())));
                client.close();
            }
            selector.selectedKeys().clear();
        }
    }

    public static void main(String[] args) throws IOException {
        InetSocketAddress address = new InetSocketAddress(args[1], 7000);
        if (args[0].equals("nio"))
            nio(address);
        else
            socket(address);
    }
}
"""


def start(place):
    flags = [] if place.six else ["-Djava.net.preferIPv4Stack=true"]
    return ["java", "-Xshare:auto", *flags, place.write("/tmp/Server.java", SERVER), place.variant, place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
