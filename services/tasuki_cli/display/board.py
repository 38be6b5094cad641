"""What there is to show of a run, from what happens to it alone: no clock, no terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasuki.core.model import TurnRecord
from tasuki.core.relay.cause import why_expired
from tasuki.core.report import TurnProgressed, TurnRefused, TurnTaken
from tasuki.core.run import (
    OVER,
    LeaseExpired,
    RunState,
    Status,
    TurnFailed,
    TurnFinished,
    why_not_again,
)
from tasuki.core.scores import evaluated
from tasuki.observe.printable import headline, one_line, printable, shortened
from tasuki_cli.display.evaluation import (
    SeenEvaluation,
    in_words,
    is_of_evaluation,
    is_score,
    named,
)
from tasuki_cli.display.notices import Key, Notices
from tasuki_cli.display.pace import Pace
from tasuki_cli.display.seen_scores import SeenScores
from tasuki_cli.display.turn_out import TurnOutNow
from tasuki_controller.news import HeldUp, TurnOut, Update
from tasuki_controller.turn_now import trouble

UNCHANGED = "trained nothing: it handed on exactly what it received"
MOST_METRICS = 6
MOST_NOTICE = 160
"""Characters of a notice; a failure's whole text is told once, apart."""

_TOLD_AT_ONCE = TurnProgressed | TurnTaken | TurnRefused | HeldUp | TurnOut
"""What is no event of a run: it may come before events that were earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Something to say once. `shows`: the display shows it too, so that it needs no line there."""

    who: str
    text: str
    shows: bool = True


class Board:
    """All that is known of one run by its updates. Times are seconds of one clock, whichever.

    Attributes:
        state: the newest that was seen.
        evaluation: the one under way; None between them.
        evaluated: the last one that is over, in words.
    """

    def __init__(self) -> None:
        self.state: RunState | None = None
        self.scores = SeenScores()
        self.notices = Notices()
        self.pace = Pace()
        self.turn = TurnOutNow(since=0.0)
        self.evaluation: SeenEvaluation | None = None
        self.evaluated = ""
        self.last = ""  # the site that trained last
        self._before: RunState | None = None  # after the event before
        self._skips = 0
        self._told: set[str] = set()
        self._trouble: tuple[Key, str] | None = None  # what was told last, and is so
        self._lines: list[Line] = []

    def take(self, update: Update, *, at: float) -> list[Line]:
        """Something happened; returns what is to be said of it."""
        self._lines = []
        if update.run is not None:
            self._adopt(update.run, at=at)
        if not update.outcome or isinstance(update.what, HeldUp | TurnOut):
            self._note(update.what, at=at)
        if update.run is not None and not isinstance(update.what, _TOLD_AT_ONCE):
            self._before = update.run
            self.scores.reached(update.run.round + (update.run.status in OVER))
            self._look_at_evaluation(update.run)
        self._look_for_trouble(at=at)
        return self._lines

    def now(self, at: float) -> Mapping[Key, str]:
        """The words of what lasts, as they are by now."""
        if self.state is None or self._trouble is None:
            return {}
        key, told = self._trouble
        return {key: _cut(self._find_trouble(self.state, at=at) or told)}

    # The state.

    def _adopt(self, state: RunState, *, at: float) -> None:
        before = self.state
        if before is None:
            self._begin(state, at=at)
        elif state.lanes[0].relay.expected.fence < before.lanes[0].relay.expected.fence:
            return  # an event's, which was overtaken by what is told at once
        elif before.lanes[0].relay.expected != state.lanes[0].relay.expected:
            self.turn.begin(at=at)
        self.state = state
        self._note_pace(state, at=at)
        self._note_skips(state)
        self._note_standing(before, state)

    def _begin(self, state: RunState, *, at: float) -> None:
        self.turn.begin(at=at)
        self.scores.begin(state.plan)
        for record in state.records:
            self._note_trained(record)

    def _note_pace(self, state: RunState, *, at: float) -> None:
        if state.status is Status.PAUSED:
            self.pace.stood()
        else:
            self.pace.reached(rounds_done(state), at=at)

    def _note_skips(self, state: RunState) -> None:
        for skip in state.skipped[self._skips :]:
            self._say(skip.site, f"skipped in round {skip.round + 1}: {skip.reason}")
            self._keep(skip.site, f"skipped: {skip.reason}", short="skipped", round=skip.round)
        self._skips = max(self._skips, len(state.skipped))

    def _note_standing(self, before: RunState | None, state: RunState) -> None:
        run = state.plan.run
        is_new = before is None or (before.status, before.reason) != (state.status, state.reason)
        if is_new and state.reason and state.status not in OVER:
            self._end_lasting(before)
            said = _standing(state)
            self._say(run, said)
            self._keep("", said, key=_stands(state), round=state.round, lasts=True)
        elif before is not None and before.reason and not state.reason:
            self._end_lasting(before)
            self._say(run, "goes on")

    def _end_lasting(self, before: RunState | None) -> None:
        if before is not None and before.reason:
            self.notices.end(_stands(before))

    # What happened.

    def _note(self, what: object, *, at: float) -> None:
        match what:
            case HeldUp(reason=reason):
                self.turn.held_up = reason
            case TurnOut(held_s=held_s):
                self.turn.since = at - held_s
            case TurnProgressed(id=id) if not is_of_evaluation(id):
                self.turn.hear(what, at=at)
            case TurnFinished(record=record) if is_score(record):
                self._note_score(what)
            case TurnFinished(record=record):
                self.turn.values = {}
                self._say_turn(record)
                self._note_trained(record)
            case TurnFailed(id=id) | LeaseExpired(id=id) if is_of_evaluation(id):
                self._note_no_score(what)
            case TurnFailed():
                self._note_failed(what)
            case LeaseExpired():
                self._note_expired(what)

    def _note_trained(self, record: TurnRecord) -> None:
        self.last = record.site
        self.notices.clear(record.site)
        self.scores.trained(record)
        if record.is_unchanged:
            self._say(record.site, f"{UNCHANGED} in round {record.id.round + 1}")
            self._keep(record.site, UNCHANGED, short="unchanged", round=record.id.round)

    def _note_failed(self, failed: TurnFailed) -> None:
        self._say_failure(failed)
        if self._before is not None and (
            said := why_not_again(self._before.lanes[0].relay, failed)
        ):
            self._say(failed.site, said)  # and it is skipped, or the run ends: that is shown

    def _say_failure(self, failed: TurnFailed) -> None:
        is_new = failed.detail not in self._told
        self._told.add(failed.detail)
        detail = failed.detail if is_new else f"{headline(failed.detail)} (as before)"
        # What is longer than its notice is told whole, wherever that is.
        shows = not is_new or detail == shortened(headline(detail), MOST_NOTICE)
        self._say(failed.site, f"{failed.error}: {detail}", shows=shows)
        said = f"{failed.error}: {headline(failed.detail)}"
        self._keep(failed.site, said, short="failed", round=failed.id.round)

    def _note_expired(self, expired: LeaseExpired) -> None:
        before, state = self._before, self.state
        if (
            before is None
            or before.lanes[0].relay.holder is None
            or (state is not None and state.reason)
        ):
            return  # whom it was about is not known, or the run's reason says the same
        said = why_expired(
            expired.phase,
            holder=before.lanes[0].relay.holder,
            successor=before.lanes[0].relay.successor,
            lease_s=before.plan.failure.lease_s,
        )
        self._say(before.plan.run, said)
        key = ("expired", said)
        self._keep(
            before.lanes[0].relay.holder, said, key=key, short="silent", round=expired.id.round
        )

    # Evaluations.

    def _note_score(self, what: TurnFinished) -> None:
        self.notices.clear(what.record.site)
        self.scores.scored(what.record)
        if self.evaluation is not None:
            self.evaluation.take(what)

    def _note_no_score(self, what: TurnFailed | LeaseExpired) -> None:
        if isinstance(what, TurnFailed):
            self._say_failure(what)
        if self.evaluation is not None:
            self.evaluation.take(what)

    def _look_at_evaluation(self, state: RunState) -> None:
        """What ends one is told with a state that has none any more, or the next one."""
        under_way = self.evaluation
        if under_way is not None and not under_way.is_under_way(state):
            self._close(under_way, state)
            self.evaluation = None
        if state.evaluation is not None:
            self.evaluation = self.evaluation or SeenEvaluation(state.evaluation)
            self.evaluation.look(state.evaluation)

    def _close(self, evaluation: SeenEvaluation, state: RunState) -> None:
        asked, scores = evaluation.now.asked, self.scores
        row = evaluated(evaluation.scores.values(), scores.metric)
        if asked.is_planned and asked.after is not None:
            scores.evaluated(asked.after - 1, row)
        round, what = (asked.after or 1) - 1, named(asked)
        for site, why in evaluation.left_out(state):
            self._say(site, f"left out of the evaluation of {what}: {why}")
            said = f"left out of the evaluation: {why}"
            self._keep(site, said, short="left out", round=round)
        of = f"{len(evaluation.scores)} of {len(evaluation.now.sites)} sites"
        metric = one_line(scores.metric)
        self.evaluated = in_words(one_line(what), row, metric=metric, mode=scores.mode, of=of)
        self._say(state.plan.run, self.evaluated)

    # Trouble: what no event tells, before one does.

    def _look_for_trouble(self, *, at: float) -> None:
        """Told once when it begins and once when it ends; how long it lasts is shown."""
        state = self.state
        if state is None or state.status in OVER:
            self._end_trouble()
            return
        found = self._find_trouble(state, at=at)
        held_up = self.turn.held_up
        key = ("trouble", held_up or state.lanes[0].relay.holder or "")
        if found and (self._trouble is None or self._trouble[0] != key):
            self._end_trouble()
            self._say(state.plan.run, found)
            site = "" if held_up else state.lanes[0].relay.holder or ""
            self._keep(site, found, key=key, short="silent", round=state.round, lasts=True)
        elif not found and self._trouble is not None:
            self._end_trouble()
            if not state.reason:
                self._say(state.plan.run, "goes on")
        self._trouble = (key, found) if found else None

    def _end_trouble(self) -> None:
        if self._trouble is not None:
            key, told = self._trouble
            self.notices.end(key, said=_cut(told))
            self._trouble = None

    def _find_trouble(self, state: RunState, *, at: float) -> str:
        """What the state itself does not tell: that comes first."""
        return self.turn.held_up if state.reason else trouble(state, self.turn.now(at))

    # What is said of it.

    def _say(self, who: str, text: str, *, shows: bool = True) -> None:
        self._lines.append(Line(who=who, text=printable(text), shows=shows))

    def _keep(
        self,
        site: str,
        said: str,
        *,
        round: int,
        key: Key | None = None,
        short: str = "",
        lasts: bool | None = None,
    ) -> None:
        """`key`: of what is counted as the same, and says itself whom it is about."""
        said = _cut(said)
        named = site if key is None else ""
        self.notices.add(key or (said,), said, round=round, site=named, lasts=lasts)
        if site and short:
            self.notices.mark(site, short)

    def _say_turn(self, record: TurnRecord) -> None:
        """A turn that is over, for a log in which nothing moves."""
        of = f" of {self.state.plan.task.rounds}" if self.state else ""
        metrics = sorted(record.metrics.items())[:MOST_METRICS]
        shown = ", ".join(f"{one_line(name)} {value:.4g}" for name, value in metrics)
        more = ", ..." if len(record.metrics) > MOST_METRICS else ""
        said = f"round {record.id.round + 1}{of} done in {record.seconds:.1f} s"
        self._say(record.site, f"{said}: {shown}{more}" if shown else said)


def rounds_done(state: RunState) -> float:
    """How many, with the part of the round under way."""
    if state.status is Status.FINISHED and state.round + 1 >= state.plan.task.rounds:
        return float(state.plan.task.rounds)
    return state.round + (
        state.lanes[0].relay.hop / len(state.lanes[0].relay.itinerary)
        if state.lanes[0].relay.itinerary
        else 0.0
    )


def _stands(state: RunState) -> Key:
    return ("stands", state.status, state.reason)


def _standing(state: RunState) -> str:
    reason = headline(state.reason)
    return reason if state.status is Status.RELAYING else f"{state.status}: {reason}"


def _cut(text: str) -> str:
    return shortened(headline(text), MOST_NOTICE)
