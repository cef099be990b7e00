# SPDX-License-Identifier: MIT
"""Tomcat: a thread that blocks in accept, or one-shot epoll under asynchronous channels (NIO2)."""

PACKAGES = ["tomcat10"]
PORT = 8080
VARIANTS = ["nio", "nio2"]
SEEN = r"client=ADDRESS port=PORT;"
CLIENT_FIRST = True

SERVER = """\
<Server port="-1">
  <Service name="Catalina">
    <Connector port="8080" address="{address}" protocol="org.apache.coyote.http11.Http11{kind}Protocol"/>
    <Engine name="Catalina" defaultHost="localhost">
      <Host name="localhost" appBase="webapps">
        <Valve className="org.apache.catalina.valves.AccessLogValve" directory="/tmp" prefix="access" suffix=""
               rotatable="false" buffered="false" pattern="client=%a port=%{{remote}}p;"/>
      </Host>
    </Engine>
  </Service>
</Server>
"""
LOG = "/tmp/access"


def start(place):
    kind = {"nio": "Nio", "nio2": "Nio2"}[place.variant]
    place.write("/tmp/base/conf/server.xml", SERVER.format(address=place.listen, kind=kind))
    for name in ("logs", "webapps", "work", "temp"):
        place.path(f"/tmp/base/{name}").mkdir()
    place.variables["CATALINA_BASE"] = "/tmp/base"
    if not place.six:
        place.variables["CATALINA_OPTS"] = "-Djava.net.preferIPv4Stack=true"
    return ["/usr/share/tomcat10/bin/catalina.sh", "run"]


def session(talk):
    talk.say("GET / HTTP/1.0\r\n\r\n")
    talk.until(r"HTTP/1\.1 ")
    talk.rest()
