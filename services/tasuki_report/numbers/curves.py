"""How a metric went at each site, round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasuki.core.scores import RECEIVED
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
    """Those of all sites, by one metric."""

    metric: str
    rounds: tuple[int, ...]
    sites: tuple[Curve, ...]

    def over_sites(self, which: Callable[[Curve], Values]) -> list[tuple[float, ...]]:
        """For each round what there is, in order."""
        columns = zip(*map(which, self.sites), strict=True)
        return [tuple(sorted(v for v in column if v is not None)) for column in columns]


def curves_of(table: TurnTable) -> list[Curves]:
    """By metric, the one that the run is looked at by first. Of several turns, the last counts."""
    names = metrics_of(table)
    ordered = metrics_of(table, first=metric_to_show(names, table.best))
    newest = {(turn.site, turn.round): turn for turn in table.turns if not turn.skipped}
    rounds = tuple(range(1, max((turn.round for turn in table.turns), default=0) + 1))
    sites = sorted({site for site, _ in newest}, key=by_number)
    of_site = {site: [newest.get((site, number)) for number in rounds] for site in sites}
    return [
        Curves(metric=base, rounds=rounds, sites=tuple(_curves(base, of_site)))
        for base in dict.fromkeys(map(base_name, ordered))
    ]


def _curves(base: str, of_site: dict[str, list[TurnRow | None]]) -> list[Curve]:
    found = [
        Curve(site=site, received=_values(turns, RECEIVED + base), trained=_values(turns, base))
        for site, turns in of_site.items()
    ]
    return [each for each in found if any(v is not None for v in (*each.received, *each.trained))]


def _values(turns: Sequence[TurnRow | None], metric: str) -> Values:
    return tuple(None if turn is None else turn.metrics.get(metric) for turn in turns)


def by_number(site: str) -> tuple[str, int, str]:
    """site-2 comes before site-10."""
    stem = site.rstrip("0123456789")
    digits = site[len(stem) :]
    return stem, int(digits) if digits.isascii() and digits else -1, site
