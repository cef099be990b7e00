# SPDX-License-Identifier: MIT
"""Services started by systemd, the first process of a container, with the units and drop-ins that the
manual prints.  Needs ROOTS: systemd must not meet this machine's own units."""

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
    unit: str  # the manual's recipe is this service's drop-in, or the service itself
    files: dict
    log: str


SERVICES = {
    "vsftpd.service": Service("vsftpd", "vsftpd.service.d/truepeer.conf", {"/etc/vsftpd.conf": """\
listen=YES
anonymous_enable=YES
xferlog_enable=YES
vsftpd_log_file=/var/log/vsftpd.log
"""}, "/var/log/vsftpd.log"),
    "ssh.service": Service("sshd", "ssh.service.d/truepeer.conf", {
        "/etc/default/ssh": "SSHD_OPTS=-E/var/log/sshd.log\n"}, "/var/log/sshd.log"),
    "rsync.socket": Service("rsync", "rsync@.service", {
        "/etc/rsyncd.conf": "log file = /var/log/rsync.log\nreverse lookup = no\n",
        "/etc/systemd/system/rsync.socket": "[Socket]\nListenStream=0.0.0.0:873\nAccept=yes\n"}, "/var/log/rsync.log"),
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
        for path, text in service.files.items():
            place.write(path, text)
        recipe = RECIPES[service.unit.split(".")[0]]
        if plain:  # the same without the library
            recipe = "".join(line for line in recipe.splitlines(True) if not line.startswith("Environment="))
        place.write(f"/etc/systemd/system/{service.unit}", recipe)
        place.boot(name)
        source, pieces = (CLIENT, ()) if plain else (BALANCER4, (v2(CLIENT),))
        talk = Talk((SERVER4, unit.port), source, pieces)
        unit.module.session(talk)

        def told():
            log = place.path(service.log)
            return talk.text() + (log.read_text(errors="replace") if log.exists() else "")
        assert named_within(unit.module.SEEN, CLIENT, told), f"{told()}\n{place.told()}"
        talk.close()
