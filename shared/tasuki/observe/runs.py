"""What the controller counts of its runs: where each is, who holds it, how its turns ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from tasuki import errors
from tasuki.core import run as machine
from tasuki.core.model import EVALUATION, Lane, TurnRecord
from tasuki.core.report import Stage
from tasuki.core.run import OVER, RunState, Status
from tasuki.core.scores import RECEIVED
from tasuki.observe.board import Board
from tasuki.observe.bounds import MetricNames, known_reason, known_site
from tasuki.observe.evaluations import Evaluations

KEPT_S = 300.0
"""How long a run's series stay after its end: a few scrapes see its last state."""

_GATE = {errors.GateRejected, errors.NonFiniteWeights, errors.ManifestMismatch}
_GATE_NAMES = {kind.__name__ for kind in _GATE}
_HEARD = "tasuki_holder_heard_timestamp_seconds"
_MOVED = "tasuki_holder_moved_timestamp_seconds"
_HOLDER = (
    "tasuki_holder",
    "tasuki_holder_since_timestamp_seconds",
    _HEARD,
    _MOVED,
    "tasuki_lease_seconds",
)
_UNKNOWN = "unknown"
"""What a turn is at of which nobody has said anything yet."""


class Runs:
    """The run series of a board, from the states that runs go through.

    Args:
        sent: bytes that the controller has sent so far.
    """

    def __init__(
        self, board: Board, now: Callable[[], float], *, sent: Callable[[], int] = lambda: 0
    ) -> None:
        self._board = board
        self._now = now
        self._sent = sent
        self._sent_before = 0
        self._states: dict[str, RunState] = {}
        self._ended: dict[str, float] = {}
        self._names = MetricNames()
        self._evaluations = Evaluations(board)
        self._merging: dict[str, float] = {}  # since when
        self.lease_left: Callable[[str, int], float | None] = lambda *_: None
        self.is_on_its_way: Callable[[str, int], bool] = lambda *_: False
        for status in OVER:
            board.add("tasuki_runs_ended_total", 0, status=status.value)
        board.before_reading(self._refresh)

    def found(self, state: RunState) -> None:
        """A run as it is in the ledger when the controller starts."""
        if state.removed:
            return
        self._states[state.plan.run] = state
        if state.status not in OVER:
            self._await_sites(state)
            self._show(state, before=None)

    def changed(
        self,
        state: RunState,
        event: object,
        outcome: str,
        *,
        effects: Iterable[machine.Effect] = (),
    ) -> None:
        """A run went on by an event, or refused it."""
        run = state.plan.run
        before, self._states[run] = self._states.get(run), state
        if state.removed:
            self._forget(run)
            return
        goes_on = before is not None and before.status in OVER and state.status not in OVER
        if before is not None and before.status in OVER and run not in self._ended and not goes_on:
            return  # its series are gone, and do not return with a late report
        if before is None or goes_on:
            self._ended.pop(run, None)
            self._await_sites(state)
        self._count(state, before, event, outcome)
        for effect in effects:
            if isinstance(effect, machine.CloseEvaluation):
                self._evaluations.closed(state, effect.evaluation)
        self._show(state, before=before)
        if state.status in OVER and (before is None or before.status not in OVER):
            self._board.add("tasuki_runs_ended_total", status=state.status.value)
            self._ended[run] = self._now()

    def holder_heard(self, lane: Lane, *, phase: str, still_s: float) -> None:
        """A sign of life of the turn of a lane that is out, which has not come on for so long."""
        now = self._now()
        self._board.set(_HEARD, now, **_labels(lane))
        self._moved(lane, phase=phase, at=now - max(0.0, min(still_s, now)))

    def _moved(self, lane: Lane, *, phase: str, at: float) -> None:
        self._board.forget(_MOVED, **_labels(lane))
        self._board.set(_MOVED, at, **_labels(lane), phase=phase)

    def _await_sites(self, state: RunState) -> None:
        """A site that was never heard of is missing too, be it since the controller's restart."""
        for site in state.plan.sites:
            self._board.begin("tasuki_site_heard_timestamp_seconds", self._now(), site=site)

    # How turns ended.

    def _count(self, state: RunState, before: RunState | None, event: object, outcome: str) -> None:
        if not _is_of_evaluation(event):
            self._count_event(state, event, outcome)
        for record in _newly_accepted(before, state):
            self._turn(state, record.site, "accepted")
            self._show_metrics(state, record)
            if record.is_unchanged:
                self._board.add(
                    "tasuki_turns_unchanged_total", run=state.plan.run, site=record.site
                )
        if before is None:
            return
        known = set(before.skipped)  # a long run without one of its sites has thousands
        for skip in [skip for skip in state.skipped if skip not in known]:
            self._turn(state, skip.site, "skipped")
            self._board.add(
                "tasuki_turns_skipped_total",
                run=state.plan.run,
                site=skip.site,
                reason=known_reason(skip.reason),
            )
        for site in _given_out_again(before, state):
            self._board.add("tasuki_turns_retried_total", run=state.plan.run, site=site)

    def _count_event(self, state: RunState, event: object, outcome: str) -> None:
        match event:
            case machine.TurnFinished(record=record) if outcome:
                self._turn(state, record.site, outcome)
            case machine.TurnFailed(site=site, error=error):
                self._turn(state, site, outcome or "failed")
                if not outcome and error in _GATE_NAMES:
                    self._board.add(
                        "tasuki_gate_rejections_total",
                        run=state.plan.run,
                        site=known_site(state, site),
                    )
            case machine.TurnReturned(site=site) if not outcome:
                self._turn(state, site, "returned")
            case machine.LeaseExpired(id=id):
                relay = state.relay_of(id.lane)
                if relay is not None and id.hop < len(relay.itinerary):
                    self._turn(state, relay.itinerary[id.hop], "expired")
            case machine.WeightsMerged() if not outcome:
                self._board.add("tasuki_merges_total", run=state.plan.run)

    def _turn(self, state: RunState, site: str, outcome: str) -> None:
        self._board.add(
            "tasuki_turns_total", run=state.plan.run, site=known_site(state, site), outcome=outcome
        )

    def _show_metrics(self, state: RunState, record: TurnRecord) -> None:
        run = state.plan.run
        for full, value in record.metrics.items():
            when = "received" if full.startswith(RECEIVED) else "trained"
            for name in self._names.admitted(run, [full.removeprefix(RECEIVED)]):
                self._board.set(
                    "tasuki_training_metric", value, run=run, site=record.site, name=name, when=when
                )

    # Where a run is.

    def _show(self, state: RunState, *, before: RunState | None) -> None:
        run, board = state.plan.run, self._board
        shown_round = min(state.round + 1, state.plan.task.rounds)
        board.set("tasuki_run_round", shown_round, run=run)
        board.set("tasuki_run_rounds", state.plan.task.rounds, run=run)
        for lane in _lanes(state):
            relay = state.lanes[lane[1]].relay
            board.set("tasuki_run_hop", relay.hop, **_labels(lane))
            board.set("tasuki_run_hops", len(relay.itinerary), **_labels(lane))
        board.forget("tasuki_run_status", run=run)
        board.set("tasuki_run_status", 1, run=run, status=state.status.value)
        board.set("tasuki_run_paused", float(state.status is Status.PAUSED), run=run)
        if state.best is not None:
            board.set("tasuki_best_round", state.best.after, run=run)
            board.set("tasuki_best_value", state.best.value, run=run)
        self._show_merge(state)
        for lane in _lanes(state):
            self._show_holder(lane, state, before=before)

    def _show_merge(self, state: RunState) -> None:
        """How long one takes, once it is over."""
        run, now = state.plan.run, self._now()
        if state.status is Status.MERGING:
            self._merging.setdefault(run, now)
        elif (since := self._merging.pop(run, None)) is not None:
            self._board.set("tasuki_merge_seconds", now - since, run=run)

    def _show_holder(self, lane: Lane, state: RunState, *, before: RunState | None) -> None:
        relay, board, labels = state.lanes[lane[1]].relay, self._board, _labels(lane)
        was = None if before is None else before.lanes[lane[1]].relay
        if was is not None and (was.holder, was.expected) == (relay.holder, relay.expected):
            return
        board.forget(*_HOLDER, **labels)
        if relay.holder is None:
            return
        board.set("tasuki_holder", 1, **labels, site=relay.holder)
        board.set("tasuki_holder_since_timestamp_seconds", self._now(), **labels)
        board.set(_HEARD, self._now(), **labels)
        self._moved(lane, phase=_UNKNOWN, at=self._now())
        board.set("tasuki_lease_seconds", relay.failure.lease_s, **labels)

    def _refresh(self) -> None:
        """What changes by itself: leases run down, and what is over is forgotten."""
        board, now = self._board, self._now()
        for run, at in list(self._ended.items()):
            if now - at > KEPT_S:
                self._forget_series(run)
        before, self._sent_before = self._sent_before, self._sent()
        board.forget("tasuki_lease_left_seconds")
        statuses = dict.fromkeys(Status, 0)
        for state in self._states.values():
            statuses[state.status] += 1
            for lane in _lanes(state):
                if state.lanes[lane[1]].relay.holder is not None:
                    left = self.lease_left(*lane) or 0.0
                    board.set("tasuki_lease_left_seconds", left, **_labels(lane))
                    if self.is_on_its_way(*lane):
                        self._show_on_its_way(lane, comes_on=self._sent_before > before)
        for status, count in statuses.items():
            board.set("tasuki_runs", count, status=status.value)

    def _forget(self, run: str) -> None:
        """It was removed: it is no run of this controller's any more."""
        self._states.pop(run, None)
        self._forget_series(run)

    def _forget_series(self, run: str) -> None:
        self._ended.pop(run, None)
        self._merging.pop(run, None)
        self._names.forget(run)
        self._evaluations.forget(run)
        self._board.forget(run=run)

    def _show_on_its_way(self, lane: Lane, *, comes_on: bool) -> None:
        """A site cannot say anything of a turn before it has it: it is the controller's to tell."""
        self._board.set(_HEARD, self._now(), **_labels(lane))
        if comes_on:
            self._moved(lane, phase=Stage.GIVEN_OUT, at=self._now())


def _lanes(state: RunState) -> list[Lane]:
    return [(state.plan.run, lane.relay.lane) for lane in state.lanes]


def _labels(lane: Lane) -> Mapping[str, str]:
    run, number = lane
    return {"run": run, "lane": str(number)}


def _is_of_evaluation(event: object) -> bool:
    """Whether it is about a turn that is to score: no such turn is one that trains."""
    match event:
        case machine.TurnFinished(record=record):
            return record.id.lane >= EVALUATION
        case machine.TurnFailed(id=id) | machine.TurnReturned(id=id) | machine.LeaseExpired(id=id):
            return id.lane >= EVALUATION
    return False


def _newly_accepted(before: RunState | None, after: RunState) -> Iterator[TurnRecord]:
    """Of each lane, which keeps the records of its round in their order."""
    if before is None:
        return
    for was, now in zip(before.lanes, after.lanes, strict=True):
        yield from now.records[len(was.relay.records) :]


def _given_out_again(before: RunState, after: RunState) -> Iterator[str]:
    """Who has a turn that was taken back and given out again, be it to begin a round anew."""
    if before.status is not after.status or after.status is not Status.RELAYING:
        return
    for was, now in zip(before.lanes, after.lanes, strict=True):
        old, new = was.relay, now.relay
        is_again = old.round == new.round and new.hop <= old.hop and new.term > old.term
        if is_again and new.holder is not None:
            yield new.holder
