# SPDX-License-Identifier: MIT
"""PostgreSQL: the postmaster waits in epoll (select in older ones) and forks for each client."""

PACKAGES = ["postgresql"]
PORT = 5432
READY = "ready to accept connections"
SEEN = r"inet_client_addr: ADDRESS PORT;"
CLIENT_FIRST = True
SIX = "only"


def start(place):
    version = next(place.path("/etc/postgresql").iterdir()).name
    main = f"/etc/postgresql/{version}/main"
    with place.path(f"{main}/pg_hba.conf").open("a") as rules:
        rules.write("host all all all trust\n")
    with place.path(f"{main}/postgresql.conf").open("a") as settings:
        settings.write(f"listen_addresses = '{place.listen}'\nfsync = off\nlogging_collector = off\n")
    if recipe := place.recipe("postgresql"):
        with place.path(f"{main}/environment").open("a") as variables:
            variables.write(recipe + place.also("TRUEPEER_{} = '{}'\n"))
        place.variables = {}
    return ["pg_ctlcluster", "--foreground", version, "main", "start"]



def session(talk):
    words = b"user\0postgres\0database\0postgres\0\0"
    talk.say((len(words) + 8).to_bytes(4, "big") + b"\0\3\0\0" + words)
    talk.until(b"Z\0\0\0\5I")
    query = b"SELECT format('inet_client_addr: %s %s;', host(inet_client_addr()), inet_client_port())\0"
    talk.say(b"Q" + (len(query) + 4).to_bytes(4, "big") + query)
    talk.until(rb"inet_client_addr: .*;")
