# SPDX-License-Identifier: MIT
"""MariaDB: poll on its listeners, a thread for each client."""

PACKAGES = ["mariadb-server"]
PORT = 3306
SIX = "only"
SEEN = r"host=ADDRESS:PORT;"


def start(place):
    place.run("mariadb-install-db", "--user=mysql", "--datadir=/tmp/data", "--skip-test-db")
    place.write("/tmp/init.sql", "CREATE USER nobody@'%';\n")
    return ["mariadbd", "--no-defaults", "--init-file=/tmp/init.sql", "--user=mysql", "--datadir=/tmp/data", "--socket=/tmp/mysqld.sock",
            "--pid-file=/tmp/mysqld.pid", "--skip-name-resolve", f"--bind-address={place.listen}"]


def session(talk):
    talk.until(rb"mysql_native_password\0")
    capabilities = (0x8000 | 0x200 | 0x80000).to_bytes(4, "little")  # protocol 4.1, its passwords, plugins
    login = capabilities + bytes([0, 0, 0, 1, 33]) + bytes(23) + b"nobody\0" + b"\0" + b"mysql_native_password\0"
    talk.say(len(login).to_bytes(3, "little") + b"\1" + login)
    talk.until(rb"\x07\0\0\x02\0")
    query = b"\3SELECT CONCAT('host=', HOST, ';') FROM information_schema.PROCESSLIST WHERE ID=CONNECTION_ID()"
    talk.say(len(query).to_bytes(3, "little") + b"\0" + query)
    talk.until(rb"host=[^']*;")
