# SPDX-License-Identifier: MIT
"""The daemons: what the files in daemons/ say, and which of them this run is about.  A file has:

PACKAGES        Debian packages
PORT            where it listens
SEEN            a pattern: where it names its client, ADDRESS (and PORT), in its replies or its log
LOG             its log file (not set: what it says on standard error, and the system log)
READY           a pattern: what it says when it can be talked to (not set: it listens)
VARIANTS        ways to start it (place.variant)
CLIENT_FIRST    the client speaks first
SIX             how it listens on [::] (place.six): "dual", for IPv4 as well (also when not set),
                "only" for IPv6, or None: not at all
SECURE          it is in secure execution, see ld.so(8)
CORE            it belongs to the core (True, or the variants that do)
start(place)    writes its files; returns the command, which stays in the foreground
reload(place)   makes it execute itself anew, and waits until it has (not set: it does not do that)
session(talk)   one conversation, during or after which it names its client"""

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

import roots

FOLDER = Path(__file__).resolve().parent / "daemons"


class Daemon:
    def __init__(self, module, variant):
        self.module, self.variant = module, variant
        self.packages, self.port, self.seen = module.PACKAGES, module.PORT, module.SEEN
        self.log = getattr(module, "LOG", None)
        self.client_first = getattr(module, "CLIENT_FIRST", False)
        self.six = getattr(module, "SIX", "dual")
        core = getattr(module, "CORE", False)
        self.core = variant in core if isinstance(core, list) else core
        self.secure = getattr(module, "SECURE", False)
        self.ready = getattr(module, "READY", "")
        self.start, self.session = module.start, module.session
        self.reload = getattr(module, "reload", None)

    def layers(self):
        """The folders of a root with its packages, the topmost first."""
        if os.environ.get("ROOTS"):
            return roots.Roots(os.environ["ROOTS"]).layers(self.packages)
        for package in self.packages:
            status = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True,
                                    text=True, check=False).stdout
            if not status.endswith(" installed"):
                pytest.skip(f"Debian package {package} is not here")
        return ["/"]


def load(path):
    spec = importlib.util.spec_from_file_location(f"daemons.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_daemon():
    for path in sorted(FOLDER.glob("*.py")):
        module, name = load(path), path.stem.replace("_", "-")
        for variant in getattr(module, "VARIANTS", [None]):
            yield name + (f"-{variant}" if variant else ""), Daemon(module, variant)


def chosen():
    found, wanted = dict(every_daemon()), os.environ.get("SERVERS") or "core"
    if wanted == "all":
        return found
    if wanted == "core":
        return {name: daemon for name, daemon in found.items() if daemon.core}
    words = wanted.replace(",", " ").split()
    if unknown := set(words) - set(found):
        raise pytest.UsageError(f"SERVERS: {' '.join(sorted(unknown))}: no such daemon; there are {' '.join(found)}")
    return {name: found[name] for name in words}


DAEMONS = chosen()
