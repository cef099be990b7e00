# SPDX-License-Identifier: MIT
"""The recipes of truepeer-servers(7), as they are printed: the literal display behind a comment that
names it, as in

.\\" recipe: postfix
.Bd -literal -offset indent"""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "src/truepeer-servers.7"
SHOWN = re.compile(r'^\.\\" recipe: (\S+)\n\.Bd -literal -offset indent\n(.*?)^\.Ed$', re.M | re.S)
RECIPES = {name: text.replace("\\e", "\\").replace("\\&", "") for name, text in SHOWN.findall(PAGE.read_text())}
