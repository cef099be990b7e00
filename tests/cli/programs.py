# SPDX-License-Identifier: MIT
"""Programs that LD_PRELOAD does not reach, made here."""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness import find

NOBODY = 65534

# Listens, says where, and accepts for ever.
SERVER = r"""
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	if (bind(fd, (struct sockaddr *)&at, len) || listen(fd, 16))
		return 1;
	getsockname(fd, (struct sockaddr *)&at, &len);
	printf("listening %d\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		int client = accept(fd, NULL, NULL);
		if (client >= 0 && SERVES)
			(void)!write(client, "hello\n", 6);
	}
}
"""

GO = """
package main

import (
	"fmt"
	"net"
)

func main() {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	for {
		listener.Accept()
	}
}
"""


def compiled(folder, name, *flags, compiler=None, source=SERVER):
    """A program made of the source; skips the test where its compiler is not here."""
    target, text = folder / name, folder / f"{name}.c"
    text.write_text(source)
    command = compiler or shlex.split(os.environ.get("CC", "cc"))
    done = subprocess.run([*command, "-DSERVES=1", *flags, "-o", target, text], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot make {name}: {done.stderr[:200]}")
    return target


def static(folder):
    return compiled(folder, "static", "-static")


def static_pie(folder):
    return compiled(folder, "static-pie", "-static-pie")


def musl(folder):
    return compiled(folder, "musl", compiler=[find("musl-gcc", "musl-tools")])


def narrow(folder):
    return compiled(folder, "narrow", "-m32")


def go(folder, *flags, cgo=False):
    """With cgo the C compiler links it, whose notes stand before Go's."""
    text, target = folder / "server.go", folder / "go-server"
    text.write_text(GO)
    env = {**os.environ, "CGO_ENABLED": str(int(cgo)), "GOCACHE": str(folder / "cache"), "GO111MODULE": "off",
           "GOTELEMETRY": "off", "GOPROXY": "off"}
    subprocess.run([find("go", "golang-go"), "build", *flags, "-o", target, text], check=True, env=env)
    return target


def foreign(folder):
    """A program of an architecture that is not ours: this one's, with another machine in its head."""
    target = folder / "foreign"
    data = bytearray(Path("/bin/true").read_bytes())
    data[18:20] = (243 if data[18] != 243 else 62).to_bytes(2, "little")
    target.write_bytes(data)
    target.chmod(0o755)
    return target


def setuid(program, folder, mode=0o4755, owner=NOBODY):
    """A copy that another owner's rights come with."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    target = folder / f"setuid-{mode:o}"
    shutil.copy(program, target)
    os.chown(target, owner, owner)
    target.chmod(mode)
    return target


def capable(program, folder):
    target = folder / "capable"
    shutil.copy(program, target)
    subprocess.run([find("setcap", "libcap2-bin"), "cap_net_bind_service=ep", target], check=True)
    return target


def open_folder(request):
    """A folder that everybody may enter; pytest's are for their owner alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    request.addfinalizer(lambda: shutil.rmtree(folder))
    return folder
