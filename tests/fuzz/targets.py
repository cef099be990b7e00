# SPDX-License-Identifier: MIT
"""The fuzz targets: what each is made of, the inputs it starts from, and how much it reaches."""

import json
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SRC = HERE.parents[1] / "src"
VECTORS = [bytes.fromhex(json.loads(line)["hex"])
           for line in (HERE.parent / "vectors/public.jsonl").read_text().splitlines() if line.strip()]
HEADER = ["addr.c", "crc32c.c", "header.c", "header_v1.c", "header_v2.c", "tlv.c"]


class Target(NamedTuple):
    sources: list  # of the library
    floor: dict    # percent of the lines of these that the seeds reach
    seeds: list
    flags: tuple = ()


def address(text, six=False):
    return (bytes(range(16)) if six else bytes([10, 1, 2, 3]) + bytes(12)) + bytes([six]) + text.encode()


PREFIXES = ["10.0.0.0/8 192.168.0.0/16 0.0.0.0/0", "10.1.2.3 10.1.2.0/24 10.0.0.0/8", "::ffff:10.0.0.0/104",
            "2001:db8::/32 ::1 ::/0", "1:203:405:607:809:a0b:c0d:e0f 1::/16", "fe80::1.2.3.4/128 1:2::3:4",
            "10.0.0.1/8 10.0.0.0/33 10.0.0.0/8x 1.2.3 01.2.3.4 256.1.1.1", "::g 1:::2 1:2:3:4:5:6:7:8:9 ::1/129 /8",
            "10.1.2.2/31 10.1.2.3/32 128.0.0.0/1", ":: 0:0:0:0:0:ffff:0:0/96 ::ffff:1.2.3.4", "::1.2.3 1:2:3:4:5:6:7:1.2.3.4",
            "1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 12345::", "1.0.0.0/8 2.0.0.0/8 3.0.0.0/8 4.0.0.0/8 5.0.0.0/8 10.0.0.0/8 200.0.0.0/8 201.0.0.0/8 202.0.0.0/8",
            "10.0.0.0/ 10.0.0.0/08 10.0.0.0/1000 10.0.0.0/3x"]

SETTINGS = ["TRUST=10.0.0.0/8, ::1 loopback private\nLISTEN=25 1000-2000 192.0.2.1:25 [2001:db8::1]:25 [::]:1 0.0.0.0:9",
            "TRUST=all\nHEADER=optional\nUNTRUSTED=reject\nVERSIONS=1 2\nTIMEOUT=500ms\nMAX_HEADER=65551\nMAX_PENDING=10",
            "TRUST=1.2.3.4\nDEFER=on\nIPV6=report\nLOG=file:/x info\nTIMEOUT=2m\nOTHER=1", "TRUST=1.2.3.4\nLOG=syslog error",
            "TRUST=10.0.0.1/8", "LISTEN=1-0", "LISTEN=0", "LISTEN=[::1", "LISTEN=1x", "LISTEN=1-2x", "LISTEN=x:1", "HEADER=x",
            "HEADER=require require", "UNTRUSTED=x", "VERSIONS=3", "TIMEOUT=0", "TIMEOUT=x", "TIMEOUT=1h", "MAX_HEADER=15",
            "MAX_PENDING=x", "DEFER=x", "IPV6=x", "LOG=file:", "LOG=x", "TRUST=\nTRUST=1.1.1.1", "", "=", "TRUST", "MAX_PENDING=0",
            "TRUST=unix\nLISTEN=/run/x.sock 25\nSOCKNAME=header\nINHERITED=0 listen-fds\nPROGRAMS=vsftpd smtpd",
            "LISTEN=/", "LISTEN=/" + "x" * 120, "SOCKNAME=x", "INHERITED=x", "INHERITED=1", "PROGRAMS=/bin/x",
            "SOCKNAME=kernel kernel", "PROGRAMS=a,b",
            "RULES=/r\nUNTRUSTED=reject", "RULES=/r\nLOG=info", "RULES=r", "LOCAL=reject\nCHAIN=2\nLENIENT=mixed-family", "CHAIN=17",
            "LENIENT=x", "STATS=/a", "STATS=a b",
            "# all\nlog 'file:/a b' info\nmax-pending 5\nprograms a b\nstats /s\nlisten 25 [::]:1-2 from 10.0.0.0/8 ::1 header "
            "optional timeout 1s chain 1 lenient mixed-family local reject sockname header\nuntrusted reject\r\nfrom unix",
            "form all\nfrom all from all\nlog info from all\nlog x\nlisten 25\nfrom\nfrom \"x\nfrom 'x'y\nheader require x\nfrom x"]

# The moves of fuzz_receive.c, the first of its input.
ALL, ONE, SOME, MANY, NOTHING, INTERRUPT, RESET, END, DENY, WAKE = range(10)
MOVES = [[ALL], [ONE, ALL], [ONE] * 200, [SOME + 10 * 8, INTERRUPT, SOME + 10 * 3, INTERRUPT, ALL, INTERRUPT, INTERRUPT],
         [NOTHING, SOME + 10 * 4, END], [ONE, RESET], [END], [RESET], [DENY], [ONE, DENY], [MANY] * 120, [NOTHING] * 3,
         [SOME + 10 * 11, NOTHING, NOTHING, ALL, DENY], [ONE, NOTHING, ONE, ONE, DENY], [ONE, WAKE, WAKE, NOTHING, WAKE, NOTHING, ALL], [INTERRUPT, MANY, INTERRUPT, ALL]]


def conversations():
    long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xa0" + bytes(12) + b"\x04\x0f\x91" + bytes(3985)
    paths = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x0f\xa0" + bytes(216) + b"\x04\x0e\xc5" + bytes(3781)
    some = [long, paths, *[data for data in VECTORS if len(data) < 300][::6]]
    return [bytes([len(moves), *moves]) + data for data in some for moves in MOVES]


TARGETS = {
    "header": Target(HEADER, {"header.c": 100, "header_v1.c": 95, "header_v2.c": 95, "tlv.c": 100}, VECTORS),
    "cidr": Target(["addr.c", "cidr.c"], {"cidr.c": 98, "addr.c": 75},
                   [address(text, six) for text in PREFIXES for six in (False, True)]),
    "config": Target(["addr.c", "cidr.c", "config.c", "mistake.c", "rule.c", "setting.c", "text.c"],
                     {"config.c": 95, "setting.c": 95}, [text.encode() for text in SETTINGS]),
    "receive": Target([*HEADER, "receive.c", "await.c"], {"receive.c": 95, "await.c": 95}, conversations(),
                      tuple(f"-Wl,--wrap={call}" for call in ("recv", "getsockopt", "setsockopt", "clock_gettime"))),
}


def build(name, folder, compiler, *flags, replay=True):
    """The target as a program: over files, or (with -fsanitize=fuzzer) by libFuzzer."""
    program = folder / f"fuzz_{name}"
    sources = [HERE / f"fuzz_{name}.c", *[HERE / "replay.c"] * replay, *(SRC / source for source in TARGETS[name].sources)]
    subprocess.run([*shlex.split(compiler), "-std=gnu11", "-D_GNU_SOURCE", f"-I{SRC}", "-g", "-Wall", "-Wextra",
                    *TARGETS[name].flags, *flags, "-o", program, *sources], check=True)
    return program


def write_seeds(name, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(TARGETS[name].seeds):
        (folder / f"seed-{i:04}").write_bytes(seed)
    return sorted(folder.iterdir())
