"""How a script of NVFlare's becomes one of Tasuki's: the tables of docs/nvflare.md as rules.

Every rule is about one line, and every rule is tried on every line of every script.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

Rules: TypeAlias = Iterable[tuple[str, Iterable[tuple[str, str]]]]
"""Pairs of a pattern and what replaces it, by kind."""

_WRITERS = "SummaryWriter|MLflowWriter|WandBWriter"
_CONSTANTS = (
    "ModelName|NPConstants|FLMetaKey|MetaKey|AlgorithmConstants|TransferType|ExchangeFormat"
)

IMPORTS = (
    (r"import nvflare\.client(\.lightning|\.hf)? as (\w+)", r"import tasuki.flare\1 as \2"),
    (rf"from nvflare\.client(\.tracking) import ({_WRITERS})", r"from tasuki.flare\1 import \2"),
    (r"from nvflare\.client import (\w+)", r"from tasuki.flare import \1"),
    (r"from nvflare[\w.]* import (ParamsType)", r"from tasuki.flare import \1"),
    (rf"from nvflare[\w.]* import ({_CONSTANTS})", r"from tasuki.flare.constants import \1"),
)  # fmt: skip
"""The tables' rows."""

RANKS = (r"import nvflare\.client as (\w+)", r"import tasuki.flare.rank0 as \1")
"""The row about scripts of several processes, which call `flare.init(rank=...)`."""

DATA = (
    (r"torchvision\.datasets\.CIFAR10\(", "small_data.CIFAR10("),
    (r"tf\.keras\.datasets\.mnist\.load_data\(\)", "small_data.mnist()"),
    (r'section="training", download=True', 'section="training", download=False'),
)
"""What would be downloaded comes from `nvflare_data.py`, which lies beside the script by then."""

MACHINE = (
    (r'^DEVICE = "cuda:0"$', 'DEVICE = "cpu"'),
    (r"bf16=True,", "bf16=True, use_cpu=True,"),
    (r'optim="paged_adamw_32bit"', 'optim="adamw_torch"'),
)
"""What is written into a script and needs a GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """A script as it will run.

    Attributes:
        changed: how many lines each kind of rule changed: imports, data, machine, own.
        left: imports of NVFlare that no rule is about.
    """

    text: str
    changed: Counter[str] = field(default_factory=Counter)
    left: tuple[str, ...] = ()


def rewrite(text: str, *, own: Iterable[tuple[str, str]] = ()) -> Rewritten:
    """Change a script line by line.

    Args:
        own: what else changes in this script alone: a line, and the line in its place.
    """
    changed: Counter[str] = Counter()
    imports = (RANKS, *IMPORTS) if ".init(rank=" in text else IMPORTS
    rules = (("imports", imports), ("data", DATA), ("machine", MACHINE))
    lines = [_line(line, rules, dict(own), changed) for line in text.splitlines()]
    if any("small_data." in line for line in lines):
        lines.insert(_first_import(lines), "import small_data")
        changed["data"] += 1
    left = tuple(line.strip() for line in lines if re.match(r"\s*(from|import) nvflare", line))
    return Rewritten(text="\n".join(lines) + "\n", changed=changed, left=left)


def _line(line: str, rules: Rules, own: dict[str, str], changed: Counter[str]) -> str:
    for kind, pairs in rules:
        for pattern, instead in pairs:
            if (new := re.sub(pattern, instead, line)) != line:
                changed[kind] += 1
                return new
    code = line.strip()
    if code in own:
        changed["own"] += 1
        return line.replace(code, own[code])
    return line


def _first_import(lines: list[str]) -> int:
    found = (at for at, line in enumerate(lines) if re.match(r"(from|import) ", line))
    return next(found, 0)
