"""The texts that kits are made of: files in `templates` with {{names}} to fill in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources

Gaps = Mapping[str, str | int]

_GAP = re.compile(r"\{\{(\w+)\}\}")


def render(template: str, gaps: Gaps) -> str:
    """A template with its gaps filled.

    Raises:
        KeyError: a gap has no value; that is our bug.
    """
    text = (resources.files("tasuki_cli.provision") / "templates" / template).read_text("utf-8")
    return _GAP.sub(lambda gap: str(gaps[gap[1]]), text)
