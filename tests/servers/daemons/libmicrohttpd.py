# SPDX-License-Identifier: MIT
"""GNU libmicrohttpd: select, poll or epoll in a thread of its own, a pool of threads that share the
listener, a thread for each client."""

PACKAGES = ["libmicrohttpd-dev", "gcc", "libc6-dev"]
PORT = 7000
VARIANTS = ["select", "poll", "epoll", "pool", "threads"]
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True

FLAGS = {
    "select": "MHD_USE_SELECT_INTERNALLY",
    "poll": "MHD_USE_POLL_INTERNAL_THREAD",
    "epoll": "MHD_USE_EPOLL_INTERNAL_THREAD",
    "pool": "MHD_USE_EPOLL_INTERNAL_THREAD",
    "threads": "MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD",
}

SERVER = r"""
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum MHD_Result answer(void *data, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *upload, size_t *size, void **state)
{
    char host[64], port[8], text[128];
    const struct sockaddr *peer =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    socklen_t length = peer->sa_family == AF_INET ? 16 : 28;
    getnameinfo(peer, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, sizeof text, "client=%s port=%s\n", host, port);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
    MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return MHD_YES;
}

int main(void)
{
    struct MHD_OptionItem options[] = {{POOL, 4}, {MHD_OPTION_END}};
    if (!MHD_start_daemon(FLAGS, 7000, NULL, NULL, answer, NULL, MHD_OPTION_ARRAY, options, MHD_OPTION_END))
        return 1;
    pause();
}
"""


def start(place):
    flags = FLAGS[place.variant] + (" | MHD_USE_DUAL_STACK" if place.six else "")
    pool = "MHD_OPTION_THREAD_POOL_SIZE" if place.variant == "pool" else "MHD_OPTION_END"
    program = place.write("/tmp/server.c", SERVER.replace("FLAGS,", f"{flags},").replace("POOL,", f"{pool},"))
    place.run("gcc", "-o", "/tmp/server", program, "-lmicrohttpd")
    return ["/tmp/server"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"client=.*\n")
