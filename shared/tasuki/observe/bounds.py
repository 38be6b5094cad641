"""What labels may say where sites or trainers choose the words: a bounded number of values."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator

from tasuki import errors
from tasuki.core.run import LATE, RunState
from tasuki.core.run.evaluation import CALLED_OFF, SILENT, WEIGHTS_LOST
from tasuki.observe.catalogue import OTHER

MOST_NAMES = 32
"""Metrics of one run that are shown, of its turns and of its evaluations each."""

_NAME_LENGTH = 64
_REASONS = {LATE, SILENT, "stood_still", "given_back", WEIGHTS_LOST, CALLED_OFF} | {
    name for name, _ in inspect.getmembers(errors, inspect.isclass)
}


def known_site(state: RunState, site: str) -> str:
    """A site of the run; a record may name whatever its sender likes."""
    return site if site in state.plan.sites else OTHER


def known_reason(reason: str) -> str:
    """Why a site was gone on without, in a word; an error only if it is one of ours."""
    return reason if reason in _REASONS else OTHER


class MetricNames:
    """The first names of metrics in each run: trainers may name them as they like."""

    def __init__(self) -> None:
        self._of: dict[str, set[str]] = {}

    def admitted(self, run: str, names: Iterable[str]) -> Iterator[str]:
        """Those of these that are shown, in their order."""
        known = self._of.setdefault(run, set())
        for name in names:
            if name in known or (len(known) < MOST_NAMES and len(name) <= _NAME_LENGTH):
                known.add(name)
                yield name

    def forget(self, run: str) -> None:
        self._of.pop(run, None)
