# SPDX-License-Identifier: MIT
"""Dovecot: the master opens the listener and clears the environment; a login process, in a chroot,
accepts and passes the connection on to imap.  service_count=1: a login process for each client."""

PACKAGES = ["dovecot-imapd"]
PORT = 143
SIX = "only"
VARIANTS = ["one", "many"]
SEEN = r"Login: user=<user>.* rip=ADDRESS,"
LOG = "/var/log/dovecot.log"
CORE = ["one"]
CLIENT_FIRST = True


def start(place):
    place.use_unit("dovecot")
    recipe = place.recipe("dovecot.conf")
    return ["dovecot", "-F", "-c", place.write("/etc/dovecot/test.conf", f"""\
log_path = {LOG}
protocols = imap
listen = "{place.listen}"
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
mail_location = maildir:/tmp/mail
service imap-login {{
  service_count = {"1" if place.variant == "one" else "0"}
  inet_listener imap {{
    port = 143
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home=/tmp/mail
}}
{recipe.rstrip()}{place.also(" TRUEPEER_{0}")}
""")]


def session(talk):
    talk.say("a LOGIN user secret\r\n")
    talk.until(r"\r\na OK .*\r\n")
    talk.say("b LOGOUT\r\n")
    talk.until(r"b OK .*\r\n")
