"""What a round's turns say of the model: means over sites, and which round was best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite

from tasuki.core.model import CheckpointPolicy, TurnRecord

Metrics = Mapping[str, float | None]


def mean_metrics(records: tuple[TurnRecord, ...]) -> dict[str, float]:
    """Each metric's mean over a round's turns, weighted by their samples (equally if none)."""
    total = sum(record.samples for record in records)
    means = {}
    for name in sorted({name for record in records for name in record.metrics}):
        having = [record for record in records if name in record.metrics]
        weights = [record.samples if total else 1 for record in having]
        if sum(weights) > 0:
            values = [record.metrics[name] for record in having]
            products = (weight * value for weight, value in zip(weights, values, strict=True))
            means[name] = sum(products) / sum(weights)
    return means


def best_round(policy: CheckpointPolicy, rounds: Iterable[tuple[int, Metrics]]) -> int | None:
    """The number of the best of these, the earlier of equals; None if nothing says which.

    A round without the policy's metric, or with one that is no number, is no candidate.
    """
    if policy.best is None:
        return None
    sign = -1 if policy.best_mode == "min" else 1
    scores = [(metrics.get(policy.best), number) for number, metrics in rounds]
    scored = [
        (sign * score, -number) for score, number in scores if score is not None and isfinite(score)
    ]
    return -max(scored)[1] if scored else None
