"""What there is to show of a run, from what happens to it alone: no clock, no terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasuki.core.model import TurnId, TurnRecord
from tasuki.core.relay import RelayState
from tasuki.core.relay.cause import why_expired
from tasuki.core.report import TurnProgressed, TurnRefused, TurnTaken
from tasuki.core.run import (
    LATE,
    OVER,
    LeaseExpired,
    RunState,
    Skip,
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

MERGES = "all lanes are made one"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """`site`: who is in it; empty: everybody."""

    site: str
    told: str


class Board:
    """All that is known of one run by its updates. Times are seconds of one clock, whichever.

    Attributes:
        state: the newest that was seen.
        turns: the one of each lane.
        evaluation: the one under way; None between them.
        evaluated: the last one that is over, in words.
    """

    def __init__(self) -> None:
        self.state: RunState | None = None
        self.scores = SeenScores()
        self.notices = Notices()
        self.pace = Pace()
        self.turns = [TurnOutNow(since=0.0)]
        self.held_up = ""
        self.evaluation: SeenEvaluation | None = None
        self.evaluated = ""
        self.last = ""  # the site that trained last
        self._before: RunState | None = None  # after the event before
        self._skips = 0
        self._seen: set[Skip] = set()
        self._told: set[str] = set()
        self._trouble: dict[Key, _Trouble] = {}  # what was told last, and is so
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
        if self.state is None:
            return {}
        found = self._find_trouble(self.state, at=at)
        return {
            key: _cut(found[key].told if key in found else each.told)
            for key, each in self._trouble.items()
        }

    # The state.

    def _adopt(self, state: RunState, *, at: float) -> None:
        before = self.state
        if before is None:
            self._begin(state, at=at)
        elif _is_older(state, before):
            return  # an event's, which was overtaken by what is told at once
        else:
            for was, lane, turn in zip(before.lanes, state.lanes, self.turns, strict=True):
                if was.relay.expected != lane.relay.expected:
                    turn.begin(at=at)
        self.state = state
        self._note_pace(state, at=at)
        self._note_skips(state)
        self._note_standing(before, state)

    def _begin(self, state: RunState, *, at: float) -> None:
        self.turns = [TurnOutNow(since=at) for _ in state.lanes]
        self.scores.begin(state.plan)
        for record in state.records:
            self._note_trained(record)

    def _note_pace(self, state: RunState, *, at: float) -> None:
        if state.status is Status.PAUSED:
            self.pace.stood()
        else:
            self.pace.reached(rounds_done(state), at=at)

    def _note_skips(self, state: RunState) -> None:
        new = self._new_skips(state)
        for skip in new:
            if skip.reason == LATE:
                self.notices.mark(skip.site, LATE)
                continue
            self._say(skip.site, f"skipped in round {skip.round + 1}: {skip.reason}")
            self._keep(skip.site, f"skipped: {skip.reason}", short="skipped", round=skip.round)
        self._skips = max(self._skips, len(state.skipped))
        late = [skip for skip in new if skip.reason == LATE]
        for number, lane in dict.fromkeys((skip.round, skip.lane) for skip in late):
            self._note_late(state, [s for s in late if (s.round, s.lane) == (number, lane)])

    def _new_skips(self, state: RunState) -> Sequence[Skip]:
        """Of several lanes, one may begin its round anew while another goes on without turns."""
        if not state.has_lanes:
            return state.skipped[self._skips :]
        new = [skip for skip in state.skipped if skip not in self._seen]
        self._seen.update(new)
        return new

    def _note_late(self, state: RunState, skips: Sequence[Skip]) -> None:
        """A lane, in one line, however many turns it has."""
        said = f"lane {skips[0].lane + 1} is late: the round goes on without it"
        sites = ", ".join(skip.site for skip in skips)
        self._say(state.plan.run, f"{said}, and without the turns of {sites}")
        self._keep("", said, key=("late", said), round=skips[0].round)

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
        if state.status is Status.MERGING and (before is None or before.status != state.status):
            self._say(run, f"{MERGES} after round {state.done}")

    def _end_lasting(self, before: RunState | None) -> None:
        if before is not None and before.reason:
            self.notices.end(_stands(before))

    # What happened.

    def _note(self, what: object, *, at: float) -> None:
        match what:
            case HeldUp(reason=reason):
                self.held_up = reason
            case TurnOut(held_s=held_s, lane=lane) if lane < len(self.turns):
                self.turns[lane].since = at - held_s
            case TurnProgressed(id=id) if not is_of_evaluation(id) and id.lane < len(self.turns):
                self.turns[id.lane].hear(what, at=at)
            case TurnFinished(record=record) if is_score(record):
                self._note_score(what)
            case TurnFinished(record=record):
                for turn in self.turns[record.id.lane : record.id.lane + 1]:
                    turn.values = {}
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
        relay = self._relay_before(failed.id)
        if relay is not None and (said := why_not_again(relay, failed)):
            self._say(failed.site, said)  # and it is skipped, or the run ends: that is shown

    def _relay_before(self, id: TurnId) -> RelayState | None:
        """Of the lane of a turn, before what happened to it."""
        return None if self._before is None else self._before.relay_of(id.lane)

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
        relay, state = self._relay_before(expired.id), self.state
        if relay is None or relay.holder is None or (state is not None and state.reason):
            return  # whom it was about is not known, or the run's reason says the same
        said = why_expired(
            expired.phase,
            holder=relay.holder,
            successor=relay.successor,
            lease_s=relay.failure.lease_s,
        )
        self._say(relay.run, said)
        key = ("expired", said)
        self._keep(relay.holder, said, key=key, short="silent", round=expired.id.round)

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
            self._end_trouble({})
            return
        found, had = self._find_trouble(state, at=at), bool(self._trouble)
        new = [key for key in found if key not in self._trouble]
        self._end_trouble(found)
        for key in new:
            site, told = found[key].site, found[key].told
            self._say(state.plan.run, told)
            self._keep(site, told, key=key, short="silent", round=state.round, lasts=True)
        if had and not found and not state.reason:
            self._say(state.plan.run, "goes on")
        self._trouble = found

    def _end_trouble(self, found: Mapping[Key, _Trouble]) -> None:
        """All but what is found still."""
        for key, each in self._trouble.items():
            if key not in found:
                self.notices.end(key, said=_cut(each.told))
        self._trouble = {key: each for key, each in self._trouble.items() if key in found}

    def _find_trouble(self, state: RunState, *, at: float) -> dict[Key, _Trouble]:
        """What the state itself does not tell: that comes first."""
        if self.held_up:
            return {("trouble", self.held_up): _Trouble(site="", told=self.held_up)}
        found: dict[Key, _Trouble] = {}
        for lane, turn in zip(state.lanes, self.turns, strict=True):
            holder, number = lane.relay.holder or "", lane.relay.lane
            told = "" if state.reason else trouble(state, turn.now(at), lane=number)
            if told:
                found["trouble", holder, str(number)] = _Trouble(site=holder, told=told)
        return found

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
        has_lanes = self.state is not None and self.state.has_lanes
        lane = f"lane {record.id.lane + 1}, " if has_lanes else ""
        said = f"{lane}round {record.id.round + 1}{of} done in {record.seconds:.1f} s"
        self._say(record.site, f"{said}: {shown}{more}" if shown else said)


def rounds_done(state: RunState) -> float:
    """How many, with the part of the round under way."""
    if state.status is Status.FINISHED and state.round + 1 >= state.plan.task.rounds:
        return float(state.plan.task.rounds)
    planned = sum(len(lane.itinerary) for lane in state.lanes)
    over = sum(len(lane.itinerary) if lane.is_late else lane.relay.hop for lane in state.lanes)
    return state.round + (over / planned if planned else 0.0)


def _is_older(state: RunState, than: RunState) -> bool:
    """By the turns that its lanes are at."""
    pairs = zip(state.lanes, than.lanes, strict=True)
    return any(now.relay.expected.fence < then.relay.expected.fence for now, then in pairs)


def _stands(state: RunState) -> Key:
    return ("stands", state.status, state.reason)


def _standing(state: RunState) -> str:
    reason = headline(state.reason)
    return reason if state.status is Status.RELAYING else f"{state.status}: {reason}"


def _cut(text: str) -> str:
    return shortened(headline(text), MOST_NOTICE)
