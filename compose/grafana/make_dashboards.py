"""Make Grafana's dashboards of their short descriptions beside this file.

    python compose/grafana/make_dashboards.py            writes dashboards/*.json
    python compose/grafana/make_dashboards.py --check    fails if one of them is not current

A description says what a panel asks and means; where it stands on the page and everything that is
the same for all panels is added here.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OUT = HERE / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH = 24
Json = dict[str, Any]  # Any: what Grafana's schema nests is its own affair


def dashboard(described: Json) -> Json:
    """A whole dashboard, as Grafana 11 reads it."""
    return {
        "uid": described["uid"],
        "title": described["title"],
        "description": described["description"],
        "tags": ["tasuki"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [_link_to_the_others()],
        "templating": {"list": [_variable(each) for each in described.get("variable", [])]},
        "panels": list(_panels(described["row"])),
    }


def _link_to_the_others() -> Json:
    look = {"asDropdown": False, "includeVars": True, "keepTime": True, "targetBlank": False}
    return {"type": "dashboards", "title": "Tasuki", "tags": ["tasuki"], **look}


def _variable(described: Json) -> Json:
    return {
        "type": "query",
        "name": described["name"],
        "label": described["label"],
        "datasource": SOURCE,
        "query": {"query": described["query"], "refId": described["name"]},
        "refresh": 2,  # whenever the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",  # a run without series yet is no reason for an empty page
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels(rows: list[Json]) -> Iterator[Json]:
    """From left to right and from top to bottom."""
    y, number = 0, 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        yield {"id": number, "type": "row", "title": row["title"], "gridPos": place, "panels": []}
        x, y, height = 0, y + 1, 0
        for described in row["panel"]:
            number += 1
            w, h = described["size"]
            if x + w > WIDTH:
                x, y, height = 0, y + height, 0
            yield {"id": number, "gridPos": {"x": x, "y": y, "w": w, "h": h}, **_panel(described)}
            x, height = x + w, max(height, h)
        y += height


def _panel(described: Json) -> Json:
    kind = described.get("type", "timeseries")
    return {
        "type": kind,
        "title": described["title"],
        "description": described["description"],
        "datasource": SOURCE,
        "targets": [
            _target(chr(ord("A") + index), expr, legend, is_over_time=kind in _OVER_TIME)
            for index, (expr, legend) in enumerate(described["targets"])
        ],
        "fieldConfig": {"defaults": _field(described, kind), "overrides": []},
        "options": _options(described, kind),
    }


_OVER_TIME = {"timeseries", "state-timeline", "bargauge"}  # the last shows the newest value


def _target(ref: str, expr: str, legend: str, *, is_over_time: bool) -> Json:
    return {
        "refId": ref,
        "datasource": SOURCE,
        "expr": expr,
        "legendFormat": legend or "__auto",
        "range": is_over_time,
        "instant": not is_over_time,
    }


def _field(described: Json, kind: str) -> Json:
    steps = sorted((float(at), colour) for at, colour in described.get("colours", {}).items())
    first = steps[0][1] if steps else "blue"
    field: Json = {
        "unit": described.get("unit", "none"),
        "noValue": "none yet",
        "mappings": _mappings(described.get("mappings", {})),
        "thresholds": {
            "mode": "absolute",
            "steps": [
                {"color": first, "value": None},
                *({"color": colour, "value": at} for at, colour in steps[1:]),
            ],
        },
        "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
        "custom": _CUSTOM.get(kind, {}),
    }
    if described.get("stacked"):
        field["custom"] = {**field["custom"], "stacking": {"mode": "normal", "group": "A"}}
    return field | {key: described[key] for key in ("min", "max") if key in described}


_CUSTOM: dict[str, Json] = {
    "timeseries": {"drawStyle": "line", "lineWidth": 2, "fillOpacity": 10, "showPoints": "auto"},
    "state-timeline": {"lineWidth": 0, "fillOpacity": 80},
}


def _mappings(texts: dict[str, str]) -> list[Json]:
    options = {value: {"text": text, "index": i} for i, (value, text) in enumerate(texts.items())}
    return [{"type": "value", "options": options}] if texts else []


def _options(described: Json, kind: str) -> Json:
    last: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match kind:
        case "timeseries":
            legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
        case "state-timeline":
            return {"mergeValues": True, "showValue": "never", "rowHeight": 0.8}
        case "stat":
            shown = described.get("text", "auto")
            return {"reduceOptions": last, "textMode": shown, "colorMode": "value"}
        case "bargauge":
            return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "gradient"}
        case "gauge":
            return {"reduceOptions": last}
    raise ValueError(f"no panel is a {kind}")


def main() -> int:
    stale = []
    for source in sorted(HERE.glob("*.toml")):
        made = json.dumps(dashboard(tomllib.loads(source.read_text())), indent=1) + "\n"
        path = OUT / source.with_suffix(".json").name
        if path.exists() and path.read_text() == made:
            continue
        stale.append(path.name)
        if "--check" not in sys.argv:
            path.write_text(made)
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"not current: {', '.join(stale)}; run {Path(__file__).name}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
