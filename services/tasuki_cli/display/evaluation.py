"""An evaluation as it is seen: how it stands, and what was said last of who has no scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tasuki.core.model import EVALUATION, Kind, TurnId, TurnRecord
from tasuki.core.run import (
    Asked,
    Evaluation,
    LeaseExpired,
    RunState,
    Status,
    TurnFailed,
    TurnFinished,
)
from tasuki.core.run.evaluation import SILENT
from tasuki.core.scores import Score, mean, worst
from tasuki.observe.printable import headline

NOT_KNOWN, CALLED_OFF = "it has no scores", "called off"


def is_of_evaluation(id: TurnId) -> bool:
    return id.lane >= EVALUATION


def is_score(record: TurnRecord) -> bool:
    """Whether a turn evaluated: its metrics are scores of a model that others score too."""
    return record.kind is Kind.EVALUATE


@dataclass(slots=True)
class SeenEvaluation:
    """One that is under way, or was until just now: a state has none that is over.

    Attributes:
        now: as it was last seen under way.
        failed: how sites failed, in a line.
    """

    now: Evaluation
    scores: dict[str, TurnRecord] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def look(self, now: Evaluation) -> None:
        """How it stands; an onlooker may have missed what led to it."""
        self.now = now
        self.scores |= {record.site: record for record in now.scores}
        self.failed |= {each.site: _line(each.reason, each.detail) for each in now.left_out}

    def take(self, what: TurnFinished | TurnFailed | LeaseExpired) -> None:
        """What happened at one of its sites: it may be what ends it."""
        match what:
            case TurnFinished(record=record):
                self.scores[record.site] = record
            case TurnFailed(site=site, error=error, detail=detail):
                self.failed[site] = _line(error, detail)
            case LeaseExpired(id=id):
                self.failed.update(dict.fromkeys(self._asked_in(id.lane), SILENT))

    def is_under_way(self, state: RunState) -> bool:
        number = self.now.asked.number
        return state.evaluation is not None and state.evaluation.asked.number == number

    def _asked_in(self, lane: int) -> tuple[str, ...]:
        place = lane - EVALUATION
        return self.now.sites[place : place + 1]

    def left_out(self, state: RunState) -> Iterator[tuple[str, str]]:
        """Who has no scores, and why, now that it is over."""
        is_called_off = state.status in {Status.STOPPED, Status.FAILED}
        for site in self.now.sites:
            if site not in self.scores:
                yield site, self.failed.get(site, CALLED_OFF if is_called_off else NOT_KNOWN)


def _line(reason: str, detail: str) -> str:
    return f"{reason}: {headline(detail)}" if detail else reason


def named(asked: Asked) -> str:
    """Which weights on what data, in words."""
    if asked.after is None:
        weights = "the weights of a file"
    else:
        weights = f"round {asked.after}" if asked.after else "the first weights"
    return f"{weights} on {asked.split}" if asked.split else weights


def in_words(what: str, row: Mapping[str, Score], *, metric: str, mode: str, of: str) -> str:
    """An evaluation in one line. `of`: how many sites scored, of how many."""
    average, badly = mean(row), worst(row, mode=mode)
    if average is None or badly is None:
        return f"{what} evaluated: no {metric or 'scores'}, {of}"
    values = f"{metric} {average:.4g} mean, {row[badly].value:.4g} worst ({badly})"
    return f"{what} evaluated: {values}, {of}"
