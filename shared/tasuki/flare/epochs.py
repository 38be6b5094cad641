"""The epochs and steps of a Lightning Trainer, so that it trains in every turn.

A Trainer counts on from one `fit` to the next: after its `max_epochs` it is done for good.
Therefore each turn gives it its epochs or steps anew. Two moments matter. While optimizers and
schedulers are made, epochs and steps begin at 0: a schedule over the turn has the turn's length.
When training begins, the epoch is what it would be if this process had trained every round so far,
and steps go on: names of checkpoints differ, and a turn that is repeated by a new process is the
same one.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from tasuki.core.model import Budget

_NO_LIMIT = -1


@dataclass(slots=True)
class _Limits:
    """What the script gave its Trainer."""

    max_epochs: int
    max_steps: int
    min_epochs: int | None


class Epochs:
    # Any, below: Lightning is not installed where Tasuki is checked.

    def __init__(self) -> None:
        self._own: _Limits | None = None
        self._unused: tuple[Any, Any] | None = None  # counters of steps as they were at first
        self._counted: tuple[Any, Any] | None = None  # and as the last turn left them

    def prepare(self, trainer: Any, budget: Budget) -> None:
        """Before optimizers are made: a turn's length from 0."""
        loop = trainer.fit_loop
        if self._own is None:
            self._own = _Limits(loop.max_epochs, loop.max_steps, loop.min_epochs)
            self._unused = copy.deepcopy(_counters(loop))
        self._counted = _counters(loop)
        _count(loop, copy.deepcopy(self._unused))
        _set_epoch(loop, 0)
        loop.max_epochs, loop.epoch_loop.max_steps = _limits(self._own, budget)
        loop.min_epochs = self._own.min_epochs

    def count_on(self, trainer: Any, *, turn: int) -> None:
        """When training begins: the same length, from where the rounds before have ended."""
        loop = trainer.fit_loop
        steps, epochs = loop.max_steps, loop.max_epochs
        _count(loop, self._counted)
        if steps != _NO_LIMIT:
            loop.epoch_loop.max_steps = trainer.global_step + steps
        if epochs > 0:
            before = turn * epochs
            _set_epoch(loop, before)
            loop.max_epochs = before + epochs
            if loop.min_epochs:
                loop.min_epochs += before


def _limits(own: _Limits, budget: Budget) -> tuple[int, int]:
    """Epochs and steps of a turn: the run's budget goes before what the script says."""
    if budget.epochs is None and budget.steps is None:
        return own.max_epochs, own.max_steps
    epochs = _NO_LIMIT if budget.epochs is None else math.ceil(budget.epochs)
    return epochs, budget.steps or _NO_LIMIT


def _set_epoch(loop: Any, epoch: int) -> None:
    progress = loop.epoch_progress.current
    progress.ready = progress.started = progress.processed = progress.completed = epoch


def _counters(loop: Any) -> tuple[Any, Any]:
    epoch_loop = loop.epoch_loop
    return (
        epoch_loop.automatic_optimization.optim_progress,
        epoch_loop.manual_optimization.optim_step_progress,
    )


def _count(loop: Any, counters: Any) -> None:
    epoch_loop = loop.epoch_loop
    epoch_loop.automatic_optimization.optim_progress = counters[0]
    epoch_loop.manual_optimization.optim_step_progress = counters[1]
