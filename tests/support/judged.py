"""Runs that all sites score: how a run file asks for it, and what has to come of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.plain import Judged

JUDGE = 'evaluate = "walk:judge"'


def evaluate(**settings: Any) -> str:  # Any: whatever a file can say
    return "\n".join(["[evaluate]", *(f"{key} = {_toml(it)}" for key, it in settings.items())])


def stop(**settings: Any) -> str:  # Any: as above
    return "\n".join(["[stop]", *(f"{key} = {_toml(it)}" for key, it in settings.items())])


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def is_as_judged(
    summary: dict[str, Any], scores: dict[str, Any], judged: Judged, *, of: str
) -> None:
    """To the last bit: JSON has every digit of a float."""
    (table,) = scores["evaluated"]
    rows = {row["round"]: row for row in table["rows"]}
    found = {
        number: {score["site"]: score["value"] for score in row["sites"]}
        for number, row in rows.items()
    }
    assert judged.sites == found
    assert judged.mean == {number: row["mean"] for number, row in rows.items()}
    assert judged.worst == {number: row["worst"] for number, row in rows.items()}
    assert (judged.digest, judged.rounds) == (summary["digest"], summary["rounds"])
    assert summary["best_round"] == scores["best_round"]
    best = summary["best_round"]
    assert judged.best == (best["round"], best["value"])
    assert ("evaluation", of) == (best["by"], best["of"])


def scoring(folder: Path, run: str, site: str | None = None) -> list[dict[str, Any]]:  # Any: JSON
    """Each time that a site began to score in this run."""
    path = folder / "stamps"
    lines = path.read_text().splitlines() if path.exists() else []
    stamps = [json.loads(line) for line in lines]
    return [
        stamp
        for stamp in stamps
        if (stamp["what"], stamp["run"]) == ("score", run) and site in {None, stamp["site"]}
    ]
