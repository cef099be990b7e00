# SPDX-License-Identifier: MIT
"""Postfix: postfix(1) hands the recipe on to master, which opens the listener and clears the
environment; smtpd accepts in processes that serve one client at a time, or postscreen accepts and
passes the connection on to them."""

PACKAGES = ["postfix"]
PORT = 25
SIX = "only"
VARIANTS = ["smtpd", "postscreen"]
SEEN = r"(?:smtpd\[\d+\]: connect from \S+?|postscreen\[\d+\]: CONNECT from )\[ADDRESS\]"
LOG = "/var/log/postfix.log"
CORE = ["smtpd"]

SERVICES = """\
smtpd      pass  -       -       y       -       -       smtpd
dnsblog    unix  -       -       y       -       0       dnsblog
anvil      unix  -       -       y       -       1       anvil
rewrite    unix  -       -       y       -       -       trivial-rewrite
tlsmgr     unix  -       -       y       1000?   1       tlsmgr
proxymap   unix  -       -       n       -       -       proxymap
cleanup    unix  n       -       y       -       0       cleanup
postlog    unix-dgram n  -       n       -       1       postlogd
"""


def start(place):
    recipe = place.recipe("postfix")
    place.variables = {}
    place.write("/etc/postfix/main.cf", f"""\
compatibility_level = 3.6
inet_protocols = {"all" if place.six else "ipv4"}
mynetworks = 127.0.0.0/8
myhostname = server.test
alias_maps =
alias_database =
postscreen_greet_wait = 1s
maillog_file = {LOG}
{recipe}
""".replace("{ TRUEPEER_TRUST", place.also("{{ TRUEPEER_{} = {} }} ") + "{ TRUEPEER_TRUST"))
    service = {"smtpd": "-  smtpd", "postscreen": "1  postscreen"}[place.variant]
    listen = "[::]:25" if place.six else "0.0.0.0:25"
    place.write("/etc/postfix/master.cf", f"{listen} inet n - y - {service}\n{SERVICES}")
    place.run("postfix", "set-permissions")
    return ["postfix", "start-fg"]


def session(talk):
    talk.until(r"220 .*\r\n")
    talk.say("QUIT\r\n")
    talk.until(r"221 .*\r\n")
