"""Prints what Tasuki needs from elsewhere: of pyproject.toml, the base and the extras named.

pip can install a project with its requirements, or without; images want the requirements alone, in
a layer that a change of code leaves as it is.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
print(
    *project["dependencies"],
    *(requirement for extra in sys.argv[1:] for requirement in extras[extra]),
    sep="\n",
)
