"""What the dashboards ask Prometheus, with their variables filled in as Grafana would."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")
BUILT_IN = {"__rate_interval": "1m", "__interval": "15s", "__range": "15m", "__range_s": "900"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of one panel."""

    dashboard: str
    panel: str
    promql: str


def queries(folder: Path) -> list[Query]:
    """Every query of every dashboard in a folder."""
    return [
        Query(dashboard=path.stem, panel=panel["title"], promql=_filled(target["expr"]))
        for path in sorted(folder.glob("*.json"))
        for panel in _panels(json.loads(path.read_text()))
        for target in panel.get("targets") or []
        if target.get("expr")
    ]


def _panels(holder: dict[str, Any]) -> Iterator[dict[str, Any]]:  # Any: JSON
    for panel in holder.get("panels", []):
        yield panel
        yield from _panels(panel)


def _filled(promql: str) -> str:
    """A variable of the dashboard's own stands for all its values."""
    return VARIABLE.sub(lambda found: BUILT_IN.get(found[1], ".+"), promql)
