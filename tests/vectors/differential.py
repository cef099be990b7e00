# SPDX-License-Identifier: MIT
"""Our parser beside an independent one, check.py, over inputs made from the vectors or by a fuzzer.

Where the vectors' README chooses otherwise than check.py, `reference` says so.
"""

import importlib.util
import ipaddress
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = ["addr.c", "crc32c.c", "header.c", "header_v1.c", "header_v2.c", "tlv.c"]

sys.dont_write_bytecode = True
_spec = importlib.util.spec_from_file_location("check", HERE / "check.py")
check = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(check)

vectors = check.load(HERE / "public.jsonl")


def compiled(folder):
    """The program that says what our parser makes of headers."""
    src, program = HERE.parents[1] / "src", folder / "judge_header"
    command = shlex.split(os.environ.get("CC", "cc")) + ["-std=gnu11", "-D_GNU_SOURCE", f"-I{src}"]
    sources = [HERE.parent / "unit/judge_header.c", *(src / name for name in SOURCES)]
    subprocess.run([*command, "-o", program, *sources], check=True)
    return program


def judged(program, inputs):
    """What the program makes of each."""
    lines = "".join(f"{i} {data.hex()}\n" for i, data in enumerate(inputs))
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(inputs)
    return results


# ---- the reference, with the README's choices ----

TAIL = re.compile(rb"(?<=:)(\d{1,3}(?:\.\d{1,3}){3})(?=[ \r])")


def without_dotted_tails(data):
    """Dotted tails in TCP6, which we accept and check.py does not, as two groups."""
    end = data[:107].find(b"\r\n")
    if not data.startswith(b"PROXY TCP6 ") or end < 0:
        return data

    def groups(match):
        try:
            ip = int(ipaddress.IPv4Address(match[1].decode()))
        except ValueError:
            return match[1]
        return b"%x:%x" % (ip >> 16, ip & 0xffff)  # never longer than it was
    return TAIL.sub(groups, data[:end + 2]) + data[end + 2:]


def reference(data):
    plain = without_dotted_tails(data)
    result = check.parse(plain)
    if result["len"]:
        result["len"] += len(data) - len(plain)
    return result


def agree(got, expected):
    if got["outcome"] != expected["outcome"]:
        return False
    if got["outcome"] == "proxy":
        return not check.diff(expected, got, ["src", "sport", "dst", "dport", "len", "tlvs"])
    return got.get("len") == expected["len"]


def differences(program, inputs):
    """Where the two differ: the input, ours, the reference's."""
    return [(data.hex(), got, expected)
            for data, got, expected in zip(inputs, judged(program, inputs), map(reference, inputs))
            if not agree(got, expected)]


# ---- inputs ----

TEMPTING = b"\r\n\0 .:/09afAF\x01\x02\x03\x04\x05\x10\x11\x20\x21\x31\x7f\x80\xff"


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at, what = rng.randrange(len(data) + 1), rng.randrange(7)
        if what == 0:
            data[at:at + 1] = b""
        elif what == 1:
            data[at:at] = bytes([rng.choice(TEMPTING)])
        elif what == 2:
            data[at:at] = data[at:at + rng.randrange(1, 9)]
        elif what == 3:
            data[at:] = b""
        elif at < len(data):
            data[at] = rng.choice((rng.choice(TEMPTING), rng.randrange(256),
                                   data[at] ^ 1 << rng.randrange(8), (data[at] + 1) % 256))
    return bytes(data)


def mended(data):
    """With the length that v2 has to announce, so that the mutation is not all there is to see."""
    if not data.startswith(check.SIG) or len(data) < 16:
        return data
    return data[:14] + (len(data) - 16).to_bytes(2, "big") + data[16:]
