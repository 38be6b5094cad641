"""How a metric went at each site, round by round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan

from tasuki.core.scores import RECEIVED, Score, over_lanes
from tasuki_controller.documents import TurnRow, TurnTable
from tasuki_controller.metric_names import base_name, metric_to_show, metrics_of

Values = tuple[float | None, ...]
"""One for each round; None: not reported, or no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What a site said: of the weights that it received, and of those that it trained."""

    site: str
    received: Values
    trained: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Those of all sites, by one metric.

    `means`: a site trains in several lanes of a round; its value is their mean, by samples.
    """

    metric: str
    rounds: tuple[int, ...]
    sites: tuple[Curve, ...]
    means: bool = False

    def over_sites(self, which: Callable[[Curve], Values]) -> list[tuple[float, ...]]:
        """For each round what there is, in order."""
        columns = zip(*map(which, self.sites), strict=True)
        return [tuple(sorted(v for v in column if v is not None)) for column in columns]


def curves_of(table: TurnTable) -> list[Curves]:
    """By metric, the one that the run is looked at by first.

    Of several turns of a site in a round, the last of each lane counts.
    """
    names = metrics_of(table)
    ordered = metrics_of(table, first=metric_to_show(names, table.best))
    newest: dict[tuple[str, int], dict[int, TurnRow]] = {}
    for turn in table.turns:
        if not turn.skipped:
            newest.setdefault((turn.site, turn.round), {})[turn.lane] = turn
    rounds = tuple(range(1, max((turn.round for turn in table.turns), default=0) + 1))
    sites = sorted({site for site, _ in newest}, key=by_number)
    means = any(len(lanes) > 1 for lanes in newest.values())
    of_site = {
        site: [list(newest.get((site, number), {}).values()) for number in rounds] for site in sites
    }
    return [
        Curves(metric=base, rounds=rounds, sites=tuple(_curves(base, of_site)), means=means)
        for base in dict.fromkeys(map(base_name, ordered))
    ]


def _curves(base: str, of_site: Mapping[str, Sequence[Sequence[TurnRow]]]) -> list[Curve]:
    found = [
        Curve(site=site, received=_values(turns, RECEIVED + base), trained=_values(turns, base))
        for site, turns in of_site.items()
    ]
    return [each for each in found if any(v is not None for v in (*each.received, *each.trained))]


def _values(rounds: Sequence[Sequence[TurnRow]], metric: str) -> Values:
    return tuple(_value(turns, metric) for turns in rounds)


def _value(turns: Sequence[TurnRow], metric: str) -> float | None:
    """What a site said in one round; of several lanes the mean, as `tasuki scores` has it."""
    having = (turn for turn in turns if metric in turn.metrics)
    score = over_lanes(_score(turn.metrics[metric], turn.samples) for turn in having)
    return None if score is None or isnan(score.value) else score.value


def _score(value: float | None, samples: int | None) -> Score:
    return Score(value=nan if value is None else value, samples=samples or 0)


def by_number(site: str) -> tuple[str, int, str]:
    """site-2 comes before site-10."""
    stem = site.rstrip("0123456789")
    digits = site[len(stem) :]
    return stem, int(digits) if digits.isascii() and digits else -1, site
