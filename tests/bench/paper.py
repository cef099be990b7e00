# SPDX-License-Identifier: MIT
"""What the measurements say: tables as they come, then the figures with their goals, and a picture."""

import datetime
import platform
import re
import shutil
import subprocess
from pathlib import Path

HEAD = """\
set terminal svg size 1500,{height} font 'sans,12' background '#ffffff'
set output '{folder}/bench.svg'
set multiplot layout {plots},1
set key outside right top
set grid y
set yrange [0:*]
set datafile missing '?'
set linetype 9 lc rgb '#999999'
set linetype 10 lc rgb '#ff99cc'
set linetype 11 lc rgb '#8b5a2b'
set linetype 12 lc rgb '#b8e986'
"""
BARS = """\
set title 'connections per second, to those without library and header'
set style data histograms
set style histogram clustered gap 2
set style fill solid 0.9 border -1
plot for [i=2:{columns}] '{folder}/bars.dat' using i:xtic(1) title columnheader(i)
"""
GROWTH = """\
set title 'what a connection costs the server with truepeer, µs of processor time'
set style data linespoints
set logscale xy
set yrange [1:*]
set xlabel 'how many (none: 0.5)'
plot for [i=0:{last}] '{folder}/growth.dat' index i using 1:2 title columnheader(1)
"""


def processor():
    found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else platform.machine()


def quoted(cell):
    return f"{cell:.3f}" if isinstance(cell, float) else cell if cell == "?" else f'"{cell}"'


class Paper:
    def __init__(self, folder, command):
        self.folder, self.command = folder, command
        self.figures, self.twice, self.bars, self.lines = [], [], {}, {}

    def table(self, title, head, rows):
        rows = [head, *rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        print(f"\n{title}")
        for row in rows:
            cells = [row[0].ljust(widths[0]), *(c.ljust(w) if c.startswith("to ") else c.rjust(w)
                                                for c, w in zip(row[1:], widths[1:]))]
            print("  " + "  ".join(cells).rstrip())

    def figure(self, what, *values, goal=None, unit="", at_most=False, noise=0.0):
        """Without a unit these are ratios. Those count to two places, as their goals are given."""
        shown = ", ".join(f"{value:+.0f} {unit}" if unit else f"{value:.2f}" for value in values)
        wanted, met = "", ""
        if goal:
            wanted = f"under {goal} {unit}" if at_most else f"{goal:.2f}" + (f" ±{noise}" if noise else "")
            good = all(value < goal if at_most else round(value, 2) >= goal - noise for value in values)
            met = "met" if good else "MISSED"
        self.figures.append((what, shown, wanted, met))

    def bar(self, subject, way, value):
        self.bars.setdefault(subject, {})[way] = value

    def point(self, line, x, y):
        self.lines.setdefault(line, []).append((x, y))

    def summary(self):
        """As README has it."""
        title = f"{processor()}, Linux {platform.release()}, {datetime.date.today()}, {self.command}"
        if self.twice:
            noise = f"{min(self.twice):.2f} to {max(self.twice):.2f}"
            self.figures.append(("noise: two servers without, to each other", noise, "", ""))
        self.table(title, ("", "figure", "goal", ""), self.figures)

    def draw(self):
        """The picture, or None where there is nothing to draw, or to draw with."""
        count = bool(self.bars) + bool(self.lines)
        if not count or not shutil.which("gnuplot"):
            return None
        plots = [HEAD.format(folder=self.folder, plots=count, height=450 * count)]
        if self.bars:
            plots.append(BARS.format(folder=self.folder, columns=self.write_bars()))
        if self.lines:
            plots.append(GROWTH.format(folder=self.folder, last=self.write_lines()))
        subprocess.run(["gnuplot"], input="".join(plots), text=True, check=True)
        return self.folder / "bench.svg"

    def write_bars(self):
        """A row a server, a column a way; returns the number of columns."""
        ways = list(dict.fromkeys(way for bars in self.bars.values() for way in bars))
        rows = [["server", *ways]] + [[name, *(bars.get(way, "?") for way in ways)] for name, bars in self.bars.items()]
        (self.folder / "bars.dat").write_text("".join("\t".join(quoted(cell) for cell in row) + "\n" for row in rows))
        return len(rows[0])

    def write_lines(self):
        """A block a line; returns the number of the last."""
        blocks = [f'"{name}"\n' + "".join(f"{max(x, 0.5)} {y}\n" for x, y in points)
                  for name, points in self.lines.items()]
        (self.folder / "growth.dat").write_text("\n\n".join(blocks))
        return len(blocks) - 1
