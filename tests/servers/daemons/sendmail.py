# SPDX-License-Identifier: MIT
"""sendmail: select with a blocking listener, then a process for each session.  It is set-group-ID, and so
in secure execution: ld.so(8) loads the library by its name alone, from a system folder."""

PACKAGES = ["sendmail-bin"]
PORT = 25
SECURE = True
SEEN = r"250-server.test Hello .*?\[ADDRESS\].*? pleased"


def start(place):
    place.install_for_secure_execution()
    text = place.path("/etc/mail/sendmail.cf").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("O DaemonPortOptions")]
    family = "inet6" if place.six else "inet"
    lines.insert(1, f"O DaemonPortOptions=Family={family}, Name=MTA, Port=25, Addr={place.listen}")
    lines.insert(1, "Djserver.test")
    place.write("/etc/mail/test.cf", "\n".join(lines) + "\n")
    place.path("/run/sendmail/mta").mkdir(parents=True, exist_ok=True)
    return ["sendmail", "-bD", "-C/etc/mail/test.cf"]


def session(talk):
    talk.until(r"220 .*\r\n")
    talk.say("EHLO mx.test\r\n")
    talk.until(r"250 HELP\r\n")
    talk.say("QUIT\r\n")
    talk.until(r"221 .*\r\n")
