# SPDX-License-Identifier: MIT
"""What truepeer-servers(7) prints: recipes, and lines of logs by the names of daemons.  A comment
stands in front of each literal display:

.\\" recipe: postfix
.Bd -literal -offset indent"""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "src/truepeer-servers.7"
SHOWN = re.compile(r'^\.\\" (recipe|log): (\S+)\n\.Bd -literal -offset indent\n(.*?)^\.Ed$', re.M | re.S)
RECIPES, LOGS = {}, {}
for kind, name, text in SHOWN.findall(PAGE.read_text()):
    (RECIPES if kind == "recipe" else LOGS)[name] = text.replace("\\e", "\\")
