# SPDX-License-Identifier: MIT
"""Subversion's svnserve (APR): a blocking accept, then a process or a thread for each client."""

PACKAGES = ["subversion"]
PORT = 3690
VARIANTS = ["fork", "threads"]
SEEN = r"ADDRESS \S+ repo open"
LOG = "/tmp/svn.log"
SIX = "only"


def start(place):
    place.run("svnadmin", "create", "/srv/repo")
    threads = ["--threads"] if place.variant == "threads" else []
    return ["svnserve", "--daemon", "--foreground", *threads, f"--listen-host={place.listen}", "--root=/srv",
            f"--log-file={LOG}", "--prefer-ipv6" if place.six else "--config-file=/dev/null"]


def session(talk):
    talk.until(r"\( success .*\) \) ")
    url = "svn://server.test/repo"
    talk.say(f"( 2 ( edit-pipeline svndiff1 ) {len(url)}:{url} 4:test ( ) ) ")
    talk.until(r"\( success \( \( ANONYMOUS .*\) ")
    talk.say("( ANONYMOUS ( 0: ) ) ")
    talk.until(r"\( success .*\( success ")
