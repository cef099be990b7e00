# SPDX-License-Identifier: MIT
"""Boost.Asio, C++: edge-triggered epoll, four threads that run it."""

PACKAGES = ["g++", "libboost-dev"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True

SERVER = r"""
#include <boost/asio.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using boost::asio::ip::tcp;

struct Session : std::enable_shared_from_this<Session> {
    tcp::socket socket;
    std::string text;

    explicit Session(tcp::socket accepted) : socket(std::move(accepted)) {}

    void run()
    {
        auto self = shared_from_this();
        boost::asio::async_read_until(socket, boost::asio::dynamic_buffer(text), '\n', [self](auto error, size_t) {
            if (error)
                return;
            auto peer = self->socket.remote_endpoint();
            self->text = "client=" + peer.address().to_string() + " port=" + std::to_string(peer.port()) + "\n";
            boost::asio::async_write(self->socket, boost::asio::buffer(self->text), [self](auto, size_t) {});
        });
    }
};

void serve(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&](auto error, tcp::socket socket) {
        if (!error)
            std::make_shared<Session>(std::move(socket))->run();
        serve(acceptor);
    });
}

int main(int, char **argv)
{
    boost::asio::io_context context;
    tcp::acceptor acceptor(context, {boost::asio::ip::make_address(argv[1]), 7000});
    serve(acceptor);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([&] { context.run(); });
    for (auto &thread : threads)
        thread.join();
}
"""


def start(place):
    place.run("g++", "-pthread", "-o", "/tmp/server", place.write("/tmp/server.cc", SERVER))
    return ["/tmp/server", place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
