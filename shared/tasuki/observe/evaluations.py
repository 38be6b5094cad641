"""What the controller counts of evaluations: how the newest came out, and who was left out."""

from __future__ import annotations

from collections.abc import Iterator

from tasuki.core.run import Evaluation, RunState
from tasuki.core.scores import evaluated, mean, mode_of, worst
from tasuki.observe.board import Board
from tasuki.observe.bounds import MetricNames, known_reason

_SCORE = "tasuki_evaluation_score"
_SITES = "tasuki_evaluation_sites"
_LEFT_OUT = "tasuki_evaluation_left_out"
_TURNS = "tasuki_evaluate_turns_total"


class Evaluations:
    """The series of a board about evaluations, from those that are over."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._names = MetricNames()

    def closed(self, state: RunState, evaluation: Evaluation) -> None:
        """Everybody has scored or was left out.

        An operator's own may be about any weights and data: it is counted, and shows nothing. One
        that was called off says nothing of its sites.
        """
        run = state.plan.run
        for record in evaluation.scores:
            self._board.add(_TURNS, run=run, site=record.site, outcome="scored")
        for each in evaluation.left_out:
            self._board.add(_TURNS, run=run, site=each.site, outcome=known_reason(each.reason))
        if evaluation.asked.is_planned and not evaluation.is_called_off:
            self._board.forget(_SCORE, _SITES, _LEFT_OUT, run=run)
            self._show_sites(run, evaluation)
            self._show_scores(state, evaluation)

    def forget(self, run: str) -> None:
        """Names that were shown of it; its series are the board's to forget."""
        self._names.forget(run)

    def _show_sites(self, run: str, evaluation: Evaluation) -> None:
        scored, left_out = len(evaluation.scores), len(evaluation.left_out)
        self._board.set(_SITES, scored, run=run, outcome="scored")
        self._board.set(_SITES, left_out, run=run, outcome="left_out")
        for each in evaluation.left_out:
            self._board.set(_LEFT_OUT, 1, run=run, site=each.site, reason=known_reason(each.reason))

    def _show_scores(self, state: RunState, evaluation: Evaluation) -> None:
        run, policy = state.plan.run, state.plan.checkpoint
        for name in self._names.admitted(run, _names(state, evaluation)):
            row = evaluated(evaluation.scores, name)
            middle, site = mean(row), worst(row, mode=mode_of(name, policy, state.plan.stop))
            if middle is not None and site is not None:
                self._board.set(_SCORE, middle, run=run, name=name, of="mean")
                self._board.set(_SCORE, row[site].value, run=run, name=name, of="worst")


def _names(state: RunState, evaluation: Evaluation) -> Iterator[str]:
    """Of its metrics, those that the run goes by come first: others may be too many."""
    stop, names = state.plan.stop, {name for each in evaluation.scores for name in each.metrics}
    chosen = (state.plan.checkpoint.best, stop.metric if stop else None)
    first = [name for name in dict.fromkeys(chosen) if name in names]
    yield from first
    yield from sorted(names.difference(first))
