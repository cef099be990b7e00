# SPDX-License-Identifier: MIT
"""Cyrus IMAP: the master opens the listener; imapd processes accept, one client at a time."""

PACKAGES = ["cyrus-imapd"]
PORT = 143
SIX = "only"
SEEN = r"badlogin: \S* ?\[ADDRESS\]"


def start(place):
    place.write("/etc/cyrus.conf", f"""\
START {{
  recover cmd="/usr/sbin/cyrus ctl_cyrusdb -r"
}}
SERVICES {{
  imap cmd="imapd" listen="{"[::]" if place.six else "0.0.0.0"}:143" prefork=0 maxchild=40 {"proto=tcp" if place.six else "proto=tcp4"}
}}
EVENTS {{
}}
""")
    place.path("/run/cyrus").mkdir(exist_ok=True)
    place.run("chown", "-R", "cyrus:mail", "/run/cyrus", "/var/lib/cyrus", "/var/spool/cyrus")
    place.write("/etc/imapd.conf", """\
configdirectory: /var/lib/cyrus
partition-default: /var/spool/cyrus/mail
defaultpartition: default
allowplaintext: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: auxprop
lmtpsocket: /run/cyrus/socket/lmtp
idlesocket: /run/cyrus/socket/idle
notifysocket: /run/cyrus/socket/notify
failedloginpause: 0
""")
    return ["cyrmaster", "-D"] if place.path("/usr/sbin/cyrmaster").exists() else ["/usr/lib/cyrus/bin/master", "-D"]


def session(talk):
    talk.until(r"\* OK .*\r\n")
    talk.say("a LOGIN nobody wrong\r\n")
    talk.until(r"a NO .*\r\n")
    talk.say("b LOGOUT\r\n")
    talk.until(r"b OK .*\r\n")
