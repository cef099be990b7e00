# SPDX-License-Identifier: MIT
"""The fuzz targets: what each is made of, the inputs it starts from, and how much it reaches."""

import random
import shlex
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SRC = HERE.parents[1] / "src"
sys.path.insert(0, str(HERE.parent / "vectors"))
from differential import mended, mutated, vectors  # noqa: E402  (found by the path above)

VECTORS = [bytes.fromhex(vector["hex"]) for vector in vectors]
HEADER = ["addr.c", "crc32c.c", "header.c", "header_v1.c", "header_v2.c", "tlv.c"]


class Target(NamedTuple):
    sources: list  # of src; those that the target includes are not among them
    floor: dict    # percent of the lines of these that the seeds reach
    seeds: list
    longest: int   # that a fuzzer makes, bytes
    flags: tuple = ()


def address(text, six=False):
    return (bytes(range(16)) if six else bytes([10, 1, 2, 3]) + bytes(12)) + bytes([six]) + text.encode()


PREFIXES = ["10.0.0.0/8 192.168.0.0/16 0.0.0.0/0", "10.1.2.3 10.1.2.0/24 10.0.0.0/8", "::ffff:10.0.0.0/104",
            "2001:db8::/32 ::1 ::/0", "1:203:405:607:809:a0b:c0d:e0f 1::/16", "fe80::1.2.3.4/128 1:2::3:4",
            "10.0.0.1/8 10.0.0.0/33 10.0.0.0/8x 1.2.3 01.2.3.4 256.1.1.1", "::g 1:::2 1:2:3:4:5:6:7:8:9 ::1/129 /8",
            "10.1.2.2/31 10.1.2.3/32 128.0.0.0/1", "10.0.0.0/8 10.0.0.0/16", ":: 0:0:0:0:0:ffff:0:0/96 ::ffff:1.2.3.4", "::1.2.3 1:2:3:4:5:6:7:1.2.3.4",
            "1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 12345::", "1.0.0.0/8 2.0.0.0/8 3.0.0.0/8 4.0.0.0/8 5.0.0.0/8 10.0.0.0/8 200.0.0.0/8 201.0.0.0/8 202.0.0.0/8",
            "::/80 ::ffff:0:0/95 ::fffe:ffff:ffff/128", "10.0.0.0/ 10.0.0.0/08 10.0.0.0/1000 10.0.0.0/3x"]

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
            "\n\nfrom x\n\n\nfrom y", "form all\nfrom all from all\nlog info from all\nlog x\nlisten 25\nfrom\nfrom \"x\nfrom 'x'y\nheader require x\nfrom x"]

# The moves of fuzz_receive.c, the first of its input.
ALL, ONE, SOME, MANY, NOTHING, INTERRUPT, RESET, END, DENY, WAKE = range(10)
MOVES = [[ALL], [ONE, ALL], [ONE] * 200, [SOME + 10 * 8, INTERRUPT, SOME + 10 * 3, INTERRUPT, ALL, INTERRUPT, INTERRUPT],
         [NOTHING, SOME + 10 * 4, END], [ONE, RESET], [END], [RESET], [DENY], [ONE, DENY], [MANY] * 120, [NOTHING] * 3,
         [SOME + 10 * 11, NOTHING, NOTHING, ALL, DENY], [ONE, NOTHING, ONE, ONE, DENY], [ONE, WAKE, WAKE, NOTHING, WAKE, NOTHING, ALL], [INTERRUPT, MANY, INTERRUPT, ALL]]


def headers():
    """The vectors, what "lenient mixed-family" is for, and mutations, always the same."""
    rng = random.Random(2)
    short = [data for data in VECTORS if len(data) < 300]
    mixed = [b"PROXY TCP4 1.2.3.4 ::1 5 6\r\n", b"PROXY TCP6 ::1 1.2.3.4 5 6\r\nx", b"PROXY TCP6 1.2.3.4 ::1 5 6\r\n"]
    return VECTORS + mixed + [change(mutated(rng, rng.choice(short))) for _ in range(200) for change in (bytes, mended)]


def wild():
    """Headers whose fields, and paths, hold every byte there is."""
    def tlv(kind, value):
        return struct.pack(">BH", kind, len(value)) + value

    def header(family, block, tlvs):
        return b"\r\n\r\n\0\r\nQUIT\n\x21" + struct.pack(">BH", family, len(block + tlvs)) + block + tlvs
    every = bytes(range(256)) + "\u202e\U0001f600".encode() + b"\xc0\xaf\xed\xa0\x80\xf5"
    values = [every[at:at + 120] for at in range(0, len(every), 120)] + [b"", b"12345678", b"\x01\x02\x03\x04\x05"]
    kinds = [1, 2, 4, 5, 0x20, 0x30, 0x77, 0xe0, 0xea, 0xee, 0xf0]
    inside = [tlv(0x20, bytes(5) + tlv(kind, value)) for kind in (0x21, 0x22, 0x28, 0x99) for value in values]
    outside = [tlv(kind, value) for kind in kinds for value in values]
    azure = [tlv(kind, b"\1" + value) for kind in (0xea, 0xee) for value in [*values, b"1234"]]
    paths = [header(0x31, every[at:at + 108].ljust(216, b"\0"), b"") for at in range(0, 256, 100)]
    return paths + [header(0x11, bytes(12), field) + b"\x1b[31m\n" for field in inside + outside + azure]


def conversations():
    long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xa0" + bytes(12) + b"\x04\x0f\x91" + bytes(3985)
    paths = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x0f\xa0" + bytes(216) + b"\x04\x0e\xc5" + bytes(3781)
    some = [long, paths, *[data for data in VECTORS if len(data) < 300][::6]]
    return [bytes([len(moves), *moves]) + data for data in some for moves in MOVES]


# The kinds of file (and 6 more: read at the start) and the moves of fuzz_ruleset.c, beside one of its eleven sets of variables.
PLAIN, FOREIGN, WRITABLE, LARGE, DEVICE, UNKNOWN = range(6)
WHOLE, BYTE, PART, BREAK, FAIL, GROW, SHRINK = range(7)
READS = [[], [BYTE] * 9, [BREAK, PART + 7, BREAK, PART + 70], [FAIL], [PART + 7, FAIL], [GROW], [BYTE, SHRINK],
         [BYTE, BYTE, GROW], [WHOLE, GROW], [WHOLE, SHRINK], [WHOLE, FAIL], [SHRINK, GROW]]


def files():
    good, bad = b"# relays\r\nlisten 25 [::]:587 /x from 10.0.0.0/8\nlog file:/x\nmax-pending 3\nuntrusted reject", b"from x"
    plain = [bytes([variables, kind, 0]) + text for variables in range(13) for kind in range(12) for text in (good, bad, b"")]
    moved = [bytes([1, PLAIN + 6 * early, len(moves), *moves]) + text
             for early in (0, 1) for moves in READS for text in (good, bad, b"")]
    return plain + moved + [bytes([0, PLAIN, 0]) + text.encode() for text in SETTINGS]


def rules():
    """Choices at random; the first is that of a wrong word, of which there is none in most."""
    rng = random.Random(6)
    return [bytes([0 if i % 4 else 1 + i % 39]) + rng.randbytes(rng.randrange(800)) for i in range(600)]


def wrap(*calls):
    return tuple(f"-Wl,--wrap={call}" for call in calls)


CONFIG = ["addr.c", "cidr.c", "config.c", "mistake.c", "rule.c", "setting.c", "text.c"]

def elf(wide, interpreter, needed, note=b"", more=0, pairs=3):
    """An executable with these in it, and more empty segments; the strings are at address 65536."""
    head, entry, word = (64, 56, "Q") if wide else (52, 32, "I")
    strings = b"\0" + needed + b"\0"
    dynamic = struct.pack(f"<4{word}", 1, 1, 5, 65536) + bytes(2 * struct.calcsize(word) * (pairs - 2))
    parts = [(0, b"")] * more + [(3, interpreter + b"\0"), (4, note), (1, strings), (2, dynamic)]
    at, table, body = head + entry * len(parts), b"", b""
    for kind, part in parts:
        address = 65536 if kind == 1 else 0
        table += (struct.pack("<IIQQQQQQ", kind, 4, at, address, 0, len(part), len(part), 1) if wide else
                  struct.pack("<IIIIIIII", kind, at, address, 0, len(part), len(part), 4, 1))
        at, body = at + len(part), body + part
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    fixed = struct.pack(f"<HHI3{word}IHHHHHH", 2, 62 if wide else 3, 1, 0, head, 0, 0, head, entry, len(parts), 0, 0, 0)
    return ident + fixed + table + body


def elves():
    go = struct.pack("<III4s", 4, 8, 4, b"Go")
    gnu = struct.pack("<III4s20x", 4, 17, 3, b"GNU")
    good = [elf(wide, *what) for wide in (True, False) for what in (
        (b"/lib64/ld-linux-x86-64.so.2", b"libc.so.6"), (b"/lib/ld-musl-x86_64.so.1", b"libc.so"),
        (b"", b"libc.musl-x86_64.so.1", go), (b"", b"", gnu * 2 + go), (b"x", b"libc.so.6"), (b"ld.so.1", b""), (b"x" * 40, b"y" * 80))]
    foreign = good[0][:5] + b"\2" + good[0][6:18] + b"\0\x15" + good[0][20:]
    large = [elf(False, b"", b"libc.so.6", more=more, pairs=pairs) for more, pairs in ((200, 3), (0, 600))]
    return [*good, foreign, *large, *(one[:cut] for one in good[::5] for cut in (3, 20, 52, 60, 100, 200)), b"#!/bin/sh\n"]


def counters():
    """Pieces as fuzz_counters.c lays them: in and behind the head, and in a listener every 1176 bytes."""
    def piece(where, data):
        return struct.pack(">HB", where, len(data)) + data

    def listener(number, *pieces):
        return piece(294 * number, struct.pack("=IHBB16s", 2, 25, 4 + 2 * (number % 2), 0, bytes(range(16)))) + b"".join(
            piece(294 * number + at // 4, struct.pack("=Q", count)) for at, count in pieces)
    many = [(24 + 8 * (32 * outcome + reason), 7) for outcome in range(4) for reason in (0, 5, 20)] + [(1048, 3), (1160, 4), (1168, 9)]
    busy = listener(1, *many) + listener(2, *many) + listener(65, *many) + listener(64, *many)
    return [bytes([more]) + data for more in (0, 1, 200) for data in (
        b"", busy, listener(3, (1048, 2**64 - 1), (24, 2**63)) * 2, piece(0, b"x"), piece(9, b"x"), piece(12, b"x"),
        piece(64, b"\xff" * 60), b"".join(listener(i % 65, (24, i)) for i in range(3, 68)))]


COMMAND_HEADER = [*HEADER, "text.c", "cli/escape.c", "cli/fields.c", "cli/json.c"]
TARGETS = {
    "header": Target(HEADER, {"header.c": 100, "header_v1.c": 95, "header_v2.c": 95, "tlv.c": 100}, headers(), 2048),
    "receive": Target([*HEADER, "receive.c", "await.c"], {"receive.c": 95, "await.c": 95}, conversations(), 4500,
                      wrap("recv", "getsockopt", "setsockopt", "clock_gettime")),
    "cidr": Target(["addr.c", "cidr.c"], {"cidr.c": 98, "addr.c": 75},
                   [address(text, six) for text in PREFIXES for six in (False, True)], 256),
    "config": Target(CONFIG, {"config.c": 95, "setting.c": 95}, [text.encode() for text in SETTINGS], 512),
    "rules": Target(CONFIG, {"rule.c": 97, "config.c": 75}, rules(), 512),
    "ruleset": Target([*CONFIG, "rules_file.c"], {"ruleset.c": 90, "rules_file.c": 85}, files(), 600,
                      wrap("read", "fstat")),
    "decode": Target(COMMAND_HEADER, {"cli/decode.c": 70, "cli/json.c": 95, "cli/fields.c": 75}, VECTORS + wild(), 2048),
    "counters": Target(["addr.c", "cli/counters.c"], {"cli/stats.c": 60}, counters(), 512),
    "elf": Target(["cli/elf.c"], {"cli/elf.c": 90}, elves(), 8192),
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
