# SPDX-License-Identifier: MIT
"""xinetd: select (poll) with a blocking listener; it accepts, logs its client, and executes the service."""

PACKAGES = ["xinetd", "inetutils-ftpd", "inetutils-telnetd", "tcpd"]
VARIANTS = ["ftpd", "telnetd", "tcpd"]
PORT = 21
SEEN = r"START: test(?: pid=\d+)? from=ADDRESS"

SERVICES = {"ftpd": "/usr/sbin/ftpd\n    server_args = -l", "telnetd": "/usr/sbin/telnetd",
            "tcpd": "/usr/sbin/tcpd\n    server_args = /usr/sbin/ftpd -l"}


def start(place):
    return ["xinetd", "-dontfork", "-f", place.write("/etc/xinetd.test", f"""\
service test
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    port = 21
    bind = {place.listen}
    flags = {"IPv6" if place.six else "IPv4"}{" NAMEINARGS" if place.variant == "tcpd" else ""}
    wait = no
    user = root
    instances = 40
    per_source = UNLIMITED
    cps = 1000 1
    log_type = SYSLOG daemon info
    log_on_success = HOST PID
    log_on_failure = HOST
    server = {SERVICES[place.variant]}
}}
""")]


def session(talk):
    talk.until(rb"220 .*\r\n|\xff.")
