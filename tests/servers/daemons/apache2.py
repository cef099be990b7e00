# SPDX-License-Identifier: MIT
"""Apache httpd: prefork (a mutex, then accept), worker and event (epoll in a thread of its own)."""

PACKAGES = ["apache2"]
PORT = 80
VARIANTS = ["prefork", "worker", "event"]
SEEN = r"Client: ADDRESS PORT\r\n"
CLIENT_FIRST = True
CORE = ["prefork", "event"]


def start(place):
    modules = "/usr/lib/apache2/modules"
    if recipe := place.recipe("apache2"):
        with place.path("/etc/apache2/envvars").open("a") as variables:
            variables.write(recipe + place.also("export TRUEPEER_{}={}\n"))
        place.variables = {}
    return ["apache2ctl", "-DFOREGROUND", "-f", place.write("/etc/apache2/test.conf", f"""\
ServerRoot /run
ServerName server.test
LoadModule mpm_{place.variant}_module {modules}/mod_mpm_{place.variant}.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule headers_module {modules}/mod_headers.so
User www-data
Group www-data
Listen {"[::]" if place.six else "0.0.0.0"}:80
AcceptFilter http none
PidFile /run/httpd.pid
ErrorLog /dev/stderr
DefaultRuntimeDir /run
DocumentRoot /var/www/html
Header always set Client "expr=%{{REMOTE_ADDR}} %{{REMOTE_PORT}}"
""")]


def session(talk):
    talk.say("HEAD / HTTP/1.0\r\n\r\n")
    talk.until(r"\r\n\r\n")
