# SPDX-License-Identifier: MIT
"""Erlang: four processes of its own in accept on one listener, one-shot epoll in a thread."""

PACKAGES = ["erlang-base"]
PORT = 7000
SEEN = r"client=ADDRESS port=PORT\n"
CLIENT_FIRST = True

SERVER = r"""
main([Address]) ->
    {ok, Ip} = inet:parse_address(Address),
    Family = case tuple_size(Ip) of 8 -> [inet6, {ipv6_v6only, false}]; 4 -> [inet] end,
    {ok, Listener} = gen_tcp:listen(7000, Family ++ [binary, {ip, Ip}, {active, false}, {packet, line},
                                                     {reuseaddr, true}, {backlog, 128}]),
    [spawn(fun() -> acceptor(Listener) end) || _ <- lists:seq(1, 4)],
    receive stop -> ok end.

acceptor(Listener) ->
    {ok, Client} = gen_tcp:accept(Listener),
    gen_tcp:controlling_process(Client, spawn(fun() -> serve(Client) end)),
    acceptor(Listener).

serve(Client) ->
    case gen_tcp:recv(Client, 0) of
        {ok, _} ->
            {ok, {Ip, Port}} = inet:peername(Client),
            gen_tcp:send(Client, io_lib:format("client=~s port=~b~n", [inet:ntoa(Ip), Port]));
        _ -> ok
    end,
    gen_tcp:close(Client).
"""


def start(place):
    return ["escript", place.write("/tmp/server.escript", "#!/usr/bin/env escript\n" + SERVER), place.listen]


def session(talk):
    talk.say("hello\n")
    talk.until(r"client=.*\n")
