"""The metrics that a run's turns reported, by name, and which of them a run is looked at by."""

from __future__ import annotations

from collections.abc import Sequence

from tasuki.core.scores import RECEIVED
from tasuki_controller.documents import TurnTable


def base_name(name: str) -> str:
    """What it measures, be it of the weights received or of those trained."""
    return name.removeprefix(RECEIVED) or name


def metrics_of(table: TurnTable, *, first: str = "") -> list[str]:
    """All that were reported, by name; of the weights received beside that of those trained."""
    names = {name for turn in table.turns for name in turn.metrics}
    return sorted(
        names, key=lambda name: (base_name(name) != first, base_name(name), name == base_name(name))
    )


def metric_to_show(names: Sequence[str], best: str | None) -> str:
    """By which a run is looked at: the one that it chooses by, else accuracy, else any."""
    bases = [base_name(name) for name in sorted(names)]
    return next((name for name in (base_name(best or ""), "accuracy", *bases) if name in bases), "")
