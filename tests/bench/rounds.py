# SPDX-License-Identifier: MIT
"""Several ways to do a thing, measured in turn, so that what else the machine does meets all alike."""

import itertools
import statistics
import subprocess


def in_turn(ways, rounds):
    """ways: functions by name, each measures once. Returns the lists of what they returned, by name."""
    results = {name: [] for name in ways}
    orders = itertools.cycle([list(ways), list(reversed(ways))])
    for order in itertools.islice(orders, rounds):
        for name in order:
            results[name].append(ways[name]())
    return results


def ratio(values, base):
    """The median of the ratios within the rounds."""
    return statistics.median(a / b for a, b in zip(values, base))


def output(argv, **options):
    """What a program prints; it must end well."""
    argv = [str(word) for word in argv]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
                          **options)
    if done.returncode:
        raise Unfit(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Unfit(Exception):
    """What was about to be measured is not what it should be."""
