"""What operators are told, as documents: over HTTP, with `--json`, in OpenAPI, to our own client.

Each shape is here once, and runs become documents below. `ledger_in_words` makes the rows of a
ledger, `turn_rows` those of its turns, `scoreboard` the scores, and `live_updates` tells what
happens while a run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

import tasuki
from tasuki.core import run as machine
from tasuki.core.model import Kind, Origin, Plan, TurnId, TurnRecord, WeightsRef
from tasuki.core.relay import Phase
from tasuki.core.run import LaneState, RunState, Skip, Status
from tasuki.core.scores import is_evaluated, mean_metrics
from tasuki.ledger.sqlite import Row
from tasuki.wire.strict_json import json_text
from tasuki_controller import history
from tasuki_controller.history import Step
from tasuki_controller.turn_now import UNKNOWN, TurnNow, troubles


class Document(BaseModel):
    """A JSON object with these keys and no others.

    What a newer controller says beyond them, an older client leaves out.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra={"additionalProperties": False})

    def line(self, *, without: str = "") -> str:
        """It as one line of JSON."""
        return json_text(self.model_dump(mode="json", exclude={without}))


class AcceptedTurn(Document):
    """A turn, as its record tells it. A metric that is no number is null: JSON has none."""

    id: TurnId
    site: str
    received: str = Field(description="The digest of the weights that it was handed.")
    sent: WeightsRef
    metrics: dict[str, float | None]
    samples: int
    seconds: float
    kind: Kind = Field(default=Kind.TRAIN, description="evaluate: its metrics are scores.")

    @classmethod
    def of(cls, record: TurnRecord) -> AcceptedTurn:
        return cls.model_construct(**{key: getattr(record, key) for key in cls.model_fields})

    def record(self, *, instead: float | None = None) -> TurnRecord:
        """The other way. `instead`: of a metric that is no number; else it is left out."""
        metrics = {key: instead if value is None else value for key, value in self.metrics.items()}
        known = {key: value for key, value in metrics.items() if value is not None}
        return TurnRecord(**{**dict(self), "metrics": known})


class Problem(Document):
    """Why a request was refused. Nothing was changed by it."""

    error: str = Field(description="The class of error; docs/operations.md has a section on each.")
    message: str = Field(description="What happened and what to do.")


class UploadedWeights(Document):
    """Weights that lie ready for a run."""

    digest: str = Field(examples=["blake3:9f0c..."])
    size: int = Field(description="In bytes.")


class TakenRoster(Document):
    """Who is a member from now on."""

    number: int = Field(description="Of the roster that the controller goes by.")
    ends: datetime


class LaneRow(Document):
    """One of several models on their way, in one line."""

    lane: int = Field(description="Its number, from 1.")
    status: Literal["out", "done", "late", "resting"] = Field(
        description="out: a site has a turn of it; done: its round is over; late: the round goes "
        "on without it; resting: no turn of it is out, as in a pause."
    )
    holder: str | None = Field(description="The site that has its weights now.")
    round: int = Field(description="The round under way, from 1.")
    hop: int = Field(description="Turns of it that are over in this round, or passed over.")
    hops: int = Field(description="Turns that it has in this round; 0: none was planned yet.")
    phase: str = Field(description="What its turn is at; empty if that is not known.")
    still_s: float = Field(description="How long that has not come on, in seconds.")
    attempts: int = Field(description="How often its turn has been given out.")


class RunRow(Document):
    """A run in one line. What is of one turn is of the first lane's, if there are several."""

    run: str
    status: Status
    rounds: str = Field(description="The round under way, of how many.", examples=["2/5"])
    turns: int = Field(description="Turns that were accepted.")
    skipped: int = Field(description="Turns that the run's policy passed over.")
    digest: str = Field(description="Of the newest accepted weights.")
    reason: str = Field(description="Why it stands as it does; empty while all is well.")
    phase: str = Field(description="What its turn is at; empty if that is not known.")
    still_s: float = Field(description="How long that has not come on, in seconds.")
    removed: bool = Field(default=False, description="Whether only its ledger is left.")
    lanes: list[LaneRow] = Field(
        default=[], description="Each of the models on their way; empty if there is one."
    )


class SteeredRun(RunRow):
    """A run after an operator's wish."""

    outcome: str = Field(description="Why that changed nothing; empty if it did.")


class AskedEvaluation(SteeredRun):
    """All sites are to score some weights."""

    number: int = Field(description="Of the evaluation, from 1: `scores` shows it.")


class RemovedRun(SteeredRun):
    """A run of which only the ledger is left."""

    freed: int = Field(description="Bytes on disk that went with it.")


class RunList(Document):
    """Every run of this controller."""

    runs: list[RunRow]


class SubmittedRun(Document):
    """What is run: its plan with whatever operators have added since, and what it began with."""

    run: str
    at: datetime = Field(description="When it was submitted.")
    plan: Plan
    weights: WeightsRef = Field(description="What it began with.")
    tasuki: str = Field(description="The version of Tasuki that says so.")


class BestRound(Document):
    """The round that is best by the metric that `[checkpoint] best` names."""

    round: int = Field(description="Counted from 1, of those that are over.")
    metric: str
    mode: str = Field(description="Whether more or less of it is better: max or min.")
    value: float
    by: str = Field(
        default="rolling",
        description="evaluation: what all sites say of the round's weights; rolling: what the "
        "round's turns reported.",
    )
    of: str = Field(default="mean", description="mean, weighted by samples, or worst.")
    sites: int = Field(default=0, description="How many sites have scored it; 0: its turns judge.")
    of_sites: int = Field(default=0, description="Of so many that the run has.")


class Summary(Document):
    """How a run went, so far: what `simulate --json` prints last."""

    run: str
    status: Status
    reason: str
    rounds: int = Field(description="Rounds with at least one accepted turn.")
    turns: int
    skipped: int
    skips: list[Skip]
    left_out: list[str] = Field(description="Sites whose every turn was passed over, so far.")
    unchanged: int = Field(description="Accepted turns that handed on exactly what they received.")
    digest: str
    metrics: dict[str, float | None] = Field(description="Means over the newest round.")
    origin: Origin | None = Field(
        default=None, description="The checkpoint of another run that it began from."
    )
    best_round: BestRound | None = Field(
        default=None, description="None if the run chooses none, or no round has its metric."
    )
    unjudged: str = Field(
        default="", description="The metric of `[checkpoint] best`, if no site has scored by it."
    )
    wall_s: float = Field(description="From its submission to its end, or so far, in seconds.")


class Standing(Summary):
    """Where a run stands and how it came there."""

    holder: str | None = Field(description="The site that has the weights now.")
    phase: str = Field(description="What its turn is at; empty if that is not known.")
    still_s: float = Field(description="How long that has not come on, in seconds.")
    error: str | None = Field(description="The class of error that the run failed with.")
    best: str | None = Field(description="The metric that chooses the best checkpoint.")
    history: list[AcceptedTurn]
    lanes: list[LaneRow] = Field(
        default=[],
        description="Each of the models on their way; empty if there is one. What is of one turn "
        "above is of the first lane's.",
    )


class TurnRow(Document):
    """A planned turn that was accepted, or passed over; rounds and turns are counted from 1.

    So are lanes: where one model circulates, all turns are of lane 1.
    """

    round: int
    lane: int = 1
    turn: int
    site: str
    samples: int | None = None
    seconds: float | None = None
    metrics: dict[str, float | None] = Field(
        default={}, description="All that its site reported; null where that is no number."
    )
    unchanged: bool = Field(default=False, description="It handed on exactly what it received.")
    received: str | None = Field(default=None, description="The digest of what it was handed.")
    sent: str | None = Field(default=None, description="The digest of what it handed on.")
    skipped: str = Field(default="", description="Why it was passed over; empty: it was accepted.")


class MergedLane(Document):
    """What one lane gave to weights that are made of several."""

    lane: int = Field(description="Its number, from 1.")
    digest: str
    samples: int = Field(description="On which it was trained since all lanes were one.")


class MergedWeights(Document):
    """Weights that all lanes went on from, and of which they were made."""

    round: int = Field(description="Of whose end they are, from 1.")
    digest: str
    lanes: list[MergedLane]


class TurnTable(Document):
    """Every turn of a run, from its ledger."""

    run: str
    best: str | None = Field(description="The metric that chooses the best checkpoint.")
    turns: list[TurnRow]
    merges: list[MergedWeights] = Field(
        default=[], description="When all lanes were made one; empty where one model circulates."
    )

    @property
    def has_lanes(self) -> bool:
        """Whether any turn or merge is of another lane than the first."""
        return bool(self.merges) or any(turn.lane > 1 for turn in self.turns)


class SiteScore(Document):
    """What one site said of some weights."""

    site: str
    value: float | None = Field(description="Null: no number.")
    samples: int
    forgotten: float | None = Field(
        description="How much worse than right after its own turn before; null: not known."
    )
    lanes: int = Field(
        default=1,
        description="In so many lanes it received other weights in this round; the value is their "
        "mean, weighted by samples.",
    )


class ScoredRound(Document):
    """What the sites said in one round; `docs/scores.md` has the formulas."""

    round: int = Field(description="Counted from 1.")
    sites: list[SiteScore]
    mean: float | None
    worst: float | None
    worst_site: str
    spread: float | None


class RollingScores(Document):
    """What each site said of the weights that it received, by one metric.

    In one round these are different weights: none of these numbers judges one model.
    """

    metric: str
    mode: str = Field(description="Whether more or less of it is better: max or min.")
    rounds: list[ScoredRound]
    forgotten: float | None = Field(description="The mean over sites of each one's newest.")
    swing: float | None = Field(description="Of the last `swing_rounds` means.")
    swing_rounds: int
    monotonicity: float | None = Field(description="Of the means.")


class LeftOut(Document):
    """A site without scores in an evaluation."""

    site: str
    reason: str = Field(description="In a word: silent, or the class of its error.")
    detail: str = Field(description="In its own words; empty if it said nothing.")


class Evaluation(Document):
    """All sites were asked to score the same weights."""

    number: int = Field(description="Counted from 1, in the order in which they were asked for.")
    round: int | None = Field(
        description="Of whose end the weights are, from 1; 0: those that the run began with; "
        "null: a file's."
    )
    digest: str
    split: str = Field(description="The data that it was to be on; empty: the trainer's choice.")
    asked: bool = Field(description="By an operator; else the run's `[evaluate]` called for it.")
    is_over: bool = Field(description="Whether nobody is waited for any more.")
    scored: list[str] = Field(description="The sites that have scored.")
    left_out: list[LeftOut]


class EvaluatedRow(Document):
    """What the sites say of the same weights by one metric; `docs/scores.md` has the formulas."""

    number: int = Field(description="Of the evaluation.")
    round: int | None
    sites: list[SiteScore]
    mean: float | None
    worst: float | None
    worst_site: str
    spread: float | None


class EvaluatedScores(Document):
    """All evaluations of a run on one split, by one metric."""

    metric: str
    mode: str = Field(description="Whether more or less of it is better: max or min.")
    split: str
    rows: list[EvaluatedRow]
    forgotten: float | None = Field(description="The mean over sites, in the newest round.")
    swing: float | None = Field(description="Of the means of the last `swing_rounds` rows.")
    swing_rounds: int
    monotonicity: float | None = Field(description="Of the means.")


class Scores(Document):
    """What sites say of a run's weights."""

    run: str
    best: str | None = Field(description="The metric that chooses the best checkpoint.")
    best_round: BestRound | None = Field(
        default=None, description="The best of the rounds so far; null: none was chosen."
    )
    evaluations: list[Evaluation] = Field(default=[], description="In their order.")
    evaluated: list[EvaluatedScores] = Field(
        default=[], description="By metric and split; only weights of rounds are in the swing."
    )
    rolling: list[RollingScores] = Field(description="By metric, in the order of their names.")


class LedgerTurn(Document):
    """The turn that a row is about, by its identity: lane, round and hop are counted from 0."""

    lane: int
    term: int
    round: int
    hop: int
    site: str | None


class LedgerRow(Document):
    """One row: what happened, and what that led to."""

    seq: int
    at: datetime
    event: str
    turn: LedgerTurn | None
    what: str = Field(description="In words; rounds and turns are counted from 1 there.")
    detail: str = Field(description="All that a site said of a failure.")
    led_to: list[str]
    merged: MergedWeights | None = Field(
        default=None,
        description="What all lanes go on from, and of which of them it was made; of a single one "
        "if no other was trained.",
    )
    issued: list[LedgerTurn] = Field(
        default=[],
        description="Of a run with several lanes, the turns that were given out to be trained.",
    )
    skipped: list[Skip]
    outcome: str
    hash: str


class Ledger(Document):
    """A run's record."""

    run: str
    rows: list[LedgerRow]


class VerifiedLedger(Document):
    """A run's record holds: every row's hash, and every kept checkpoint's digest."""

    run: str
    rows: int
    checkpoints: int
    merges: int = Field(
        default=0,
        description="How often several lanes were made one, of just what sites have handed in, "
        "and went on from that.",
    )
    merged_again: int = Field(
        default=0, description="How many of these were repeated from files that are still there."
    )
    removed: bool = Field(default=False, description="Whether its weights were removed.")
    verified: Literal[True]


class ProvedLedger(Document):
    """A run's record holds, and who said what in it is proved by their signatures."""

    run: str
    rows: int
    records: int = Field(description="Results and scores, each signed by its site.")
    reports: int = Field(description="Failures and turns given back, signed by their sites.")
    unsaid: int = Field(description="Those of which only the controller tells.")
    status: str = Field(description="As the run stands after its last row here.")
    hash: str = Field(description="Of that row: it fixes all that came before it.")
    at: datetime = Field(description="When the controller wrote that row.")
    origin: Origin | None = Field(description="The run that it began from; prove that one too.")
    checkpoints: int | None = Field(
        description="Kept ones that hold, as who keeps them says; null: none are."
    )
    removed: bool = Field(description="Whether its weights were removed.")
    removal_signed: bool = Field(description="Not if that was done without the controller.")
    federation: str
    roster: int = Field(description="The number of the roster that it is proved by.")
    verified: Literal[True]


class ExportedLedger(Document):
    """A run's rows were written to a file."""

    run: str
    path: str
    rows: int


class ExportedWeights(Document):
    """A checkpoint's weights were copied."""

    run: str
    path: str
    digest: str
    round: int


class WrittenReport(Document):
    """A run's report was written."""

    run: str
    path: str | None = Field(description="The page; null: none was asked for.")
    size: int | None = Field(description="Of the page, in bytes.")
    tables: list[str] = Field(description="The CSV files.")
    verified: bool = Field(description="Whether the ledger holds.")


def run_row(state: RunState, turns: Sequence[TurnNow] = ()) -> RunRow:
    """A run in one line. `turns`: how that of each lane goes, where that is known."""
    return RunRow(
        run=state.plan.run,
        status=state.status,
        rounds=f"{state.round + 1}/{state.plan.task.rounds}",
        turns=state.turns,
        skipped=len(state.skipped),
        digest=state.weights.digest,
        removed=state.removed,
        **_turns_now(state, turns),
    )


def submitted_run(state: RunState, rows: list[Row]) -> SubmittedRun:
    """What is run; `rows`: its ledger."""
    weights = history.decode_event(rows[1])
    assert isinstance(weights, WeightsRef)  # noqa: S101 - a run with a state has its first two rows
    return SubmittedRun(
        run=state.plan.run,
        at=datetime.fromtimestamp(rows[0].at, UTC),
        plan=state.plan,
        weights=weights,
        tasuki=tasuki.__version__,
    )


def summary(state: RunState, records: list[TurnRecord], *, wall_s: float) -> Summary:
    """How a run went, of which these turns were accepted."""
    newest = max((record.id.round for record in records), default=0)
    last = tuple(record for record in records if record.id.round == newest)
    return Summary(
        run=state.plan.run,
        status=state.status,
        reason=state.reason,
        rounds=len({record.id.round for record in records}),
        turns=state.turns,
        skipped=len(state.skipped),
        skips=list(state.skipped),
        left_out=list(state.left_out),
        unchanged=sum(record.is_unchanged for record in records),
        digest=state.weights.digest,
        metrics={
            # JSON has no NaN, and some of its readers refuse one.
            name: value if isfinite(value) else None
            for name, value in mean_metrics(last).items()
        },
        origin=state.plan.origin,
        best_round=best_of(state),
        unjudged=state.unjudged,
        wall_s=round(wall_s, 3),
    )


def best_of(state: RunState) -> BestRound | None:
    """Of the rounds that are over, and evaluated if that chooses."""
    policy, best = state.plan.checkpoint, state.best
    if best is None or policy.best is None:
        return None
    return BestRound(
        round=best.after,
        metric=policy.best,
        mode=policy.best_mode,
        value=best.value,
        by="evaluation" if is_evaluated(policy.best, state.plan.evaluate) else "rolling",
        of=policy.of,
        sites=best.sites,
        of_sites=len(state.plan.sites) if best.sites else 0,
    )


def evaluation(state: machine.Evaluation) -> Evaluation:
    """One evaluation, over or not."""
    asked = state.asked
    return Evaluation(
        number=asked.number,
        round=asked.after,
        digest=asked.weights.digest,
        split=asked.split,
        asked=not asked.is_planned,
        is_over=state.is_over,
        scored=[record.site for record in state.scores],
        left_out=[
            LeftOut(site=each.site, reason=each.reason, detail=each.detail)
            for each in state.left_out
        ],
    )


def standing(state: RunState, steps: Sequence[Step], turns: Sequence[TurnNow] = ()) -> Standing:
    """Where a run stands that this controller has; `steps`: its ledger, replayed."""
    records, rows = history.records(steps), [step.row for step in steps]
    went = summary(state, records, wall_s=history.last_row(steps).at - rows[0].at)
    return Standing(
        **{**dict(went), **_turns_now(state, turns)},
        holder=state.lanes[0].relay.holder,
        error=history.failure(rows) if state.status is Status.FAILED else None,
        best=state.plan.checkpoint.best,
        history=list(map(AcceptedTurn.of, records)),
    )


def _turns_now(
    state: RunState, turns: Sequence[TurnNow]
) -> dict[str, Any]:  # Any: of each key's type
    known = turns or [UNKNOWN] * len(state.lanes)
    return {
        "reason": state.reason or troubles(state, known),
        "phase": known[0].phase,
        "still_s": round(known[0].still_s, 1),
        "lanes": list(map(_lane_row, state.lanes, known)) if state.has_lanes else [],
    }


def _lane_row(lane: LaneState, turn: TurnNow) -> LaneRow:
    relay = lane.relay
    is_out = relay.holder is not None
    return LaneRow(
        lane=relay.lane + 1,
        status=_lane_status(lane),
        holder=relay.holder,
        round=relay.round + 1,
        hop=relay.hop,
        hops=len(relay.itinerary),
        phase=turn.phase if is_out else "",
        still_s=round(turn.still_s, 1) if is_out else 0.0,
        attempts=relay.attempts,
    )


def _lane_status(lane: LaneState) -> Literal["out", "done", "late", "resting"]:
    if lane.is_late:
        return "late"
    if lane.relay.phase is Phase.OUT:
        return "out"
    return "done" if lane.relay.phase is Phase.DONE else "resting"
