"""A result has the metrics that its run chooses by."""

from __future__ import annotations

from collections.abc import Iterable

from tasuki.errors import GateRejected
from tasuki_site.gate.candidate import Candidate

MOST_NAMES = 12


def check(candidate: Candidate) -> None:
    """Raises GateRejected: a metric that the run needs is missing."""
    metrics = candidate.outcome.metrics
    missing = [name for name in candidate.task.requires if name not in metrics]
    if missing:
        raise GateRejected(
            f"the result has no metric {missing[0]!r}, which the run chooses its best checkpoint "
            f"by; it has {some(metrics)}: pass metrics={{{missing[0]!r}: ...}}"
        )


def some(metrics: Iterable[str]) -> str:
    """The names of the first few."""
    names = sorted(metrics)
    return (
        ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")
        or "none at all"
    )
