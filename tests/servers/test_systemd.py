# SPDX-License-Identifier: MIT
"""Services as Debian's units start them, by systemd as the first process of a container, with a
drop-in that the manual prints.  Needs ROOTS: systemd must not meet this machine's own units."""

import os
from typing import NamedTuple

import pytest

import roots
from catalogue import FOLDER, load
from harness import v2
from place import BALANCER4, CLIENTS4, SERVER4, Place
from recipes import RECIPES
from talk import Talk, named_within

CLIENT = CLIENTS4.format(7)


class Service(NamedTuple):
    daemon: str  # whose file has the conversation
    recipe: str
    settings: str  # a configuration file, and what it says
    text: str
    log: str = "/var/log/none"


SERVICES = {
    "vsftpd": Service("vsftpd", "vsftpd", "/etc/vsftpd.conf", """\
listen=YES
anonymous_enable=YES
xferlog_enable=YES
vsftpd_log_file=/var/log/vsftpd.log
""", "/var/log/vsftpd.log"),
    "ssh": Service("sshd", "ssh", "/etc/default/ssh", "SSHD_OPTS=-E/var/log/sshd.log\n", "/var/log/sshd.log"),
    "nginx": Service("nginx", "ssh", "/etc/nginx/sites-enabled/default", """\
server {
    listen 80;
    return 200 "client=$remote_addr port=$remote_port\\n";
}
"""),
}


class Unit:
    """What Place wants to know of a daemon."""

    variant = None

    def __init__(self, service):
        self.module = load(FOLDER / f"{service.daemon}.py")
        self.port = self.module.PORT

    def layers(self):
        return roots.Roots(os.environ["ROOTS"]).layers([*self.module.PACKAGES, "systemd"])


UNITS = {name: Unit(service) for name, service in SERVICES.items()}
if os.environ.get("ROOTS"):
    for unit in UNITS.values():  # while there is a network to get packages from
        unit.layers()


@pytest.mark.parametrize("plain", [True, False], ids=["control", "truepeer"])
@pytest.mark.parametrize("name", SERVICES)
def test_service_names_the_client(tmp_path, name, plain):
    if not os.environ.get("ROOTS"):
        pytest.skip("needs ROOTS (make check-servers)")
    service, unit = SERVICES[name], UNITS[name]
    tmp_path.parent.parent.chmod(0o755)
    with Place(tmp_path, unit, six=False, plain=plain) as place:
        place.write(service.settings, service.text)
        if not plain:
            place.write(f"/etc/systemd/system/{name}.service.d/truepeer.conf", RECIPES[service.recipe])
        place.boot(name)
        source, pieces = (CLIENT, ()) if plain else (BALANCER4, (v2(CLIENT),))
        talk = Talk((SERVER4, unit.port), source, pieces)
        unit.module.session(talk)

        def told():
            log = place.path(service.log)
            return talk.text() + (log.read_text() if log.exists() else "")
        assert named_within(unit.module.SEEN, CLIENT, told), f"{told()}\n{place.told()}"
        talk.close()
