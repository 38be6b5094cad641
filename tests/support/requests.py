"""A turn as a trainer's process is asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasuki_site.trainer.request import TurnRequest


def a_request(place: Path = Path(), /, **changes: Any) -> TurnRequest:  # Any: each of its own type
    """One whose weights are `received` and `result` in a folder, changed as a test needs it."""
    parts: dict[str, Any] = {
        "run": "r", "lane": 0, "term": 1, "round": 0, "hop": 0, "rounds": 1, "site": "a", "seed": 1,
        "kind": "train", "device": "cpu", "received": str(place / "received"),
        "result": str(place / "result"),
    }  # fmt: skip
    return TurnRequest(**{**parts, **changes})
