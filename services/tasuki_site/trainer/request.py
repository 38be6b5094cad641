"""What a trainer's process is asked: one turn, as plain values that fit through a channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tasuki.core.model import Budget, Kind, Lane, Turn, TurnId
from tasuki.trainer import Framework, evaluate_seed, turn_seed
from tasuki.trainer import Turn as TrainerTurn
from tasuki_site.tensors import best_device, load_state

Log = Callable[[Mapping[str, float]], None]
Began = Callable[[], None]


def unnoticed() -> None:
    """Nobody wants to know when a turn begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """What a trainer's process needs to know of a turn.

    Attributes:
        received: the file of the received weights.
        result: the file to write; a turn that evaluates writes none.
        split: which data to evaluate on.
        merged: whether what was received was just made of several lanes' weights.
        folder: where the trainer works; None: where its code is.
        turn_s, progress_s: how long it may take, and how long it may show no progress.
        non_finite: names, or patterns of them, of tensors that may hold NaN and Inf.
    """

    run: str
    lane: int
    term: int
    round: int
    hop: int
    rounds: int
    site: str
    seed: int
    kind: str
    split: str = ""
    merged: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)  # Any: the run's own keys
    budget: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    device: str | None = None
    received: str
    result: str
    folder: str | None = None
    turn_s: float | None = None
    progress_s: float | None = None
    non_finite: Sequence[str] = ()

    @classmethod
    def of(
        cls, turn: Turn, *, received: Path, result: Path, data: str | None, device: str | None
    ) -> TurnRequest:
        id, task = turn.id, turn.task
        return cls(
            run=id.run,
            lane=id.lane,
            term=id.term,
            round=id.round,
            hop=id.hop,
            rounds=task.rounds,
            site=turn.site,
            seed=_seed(turn),
            kind=turn.kind.value,
            split=turn.split,
            merged=turn.merged,
            params=task.params_of(turn.site),
            budget=asdict(task.budget),
            data=data,
            device=device,
            # The trainer's process has a working folder of its own.
            received=str(received.absolute()),
            result=str(result.absolute()),
            turn_s=task.turn_s,
            progress_s=task.progress_s,
            non_finite=task.non_finite,
        )

    def to_map(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def id(self) -> TurnId:
        return TurnId(run=self.run, lane=self.lane, term=self.term, round=self.round, hop=self.hop)

    @property
    def trained_in(self) -> Lane:
        """The lane whose trainer does it: a turn that evaluates has no trainer of its own."""
        return (self.run, 0 if self.kind == Kind.EVALUATE else self.lane)

    def open(self, log: Log, *, loaded: Callable[[], None] = lambda: None) -> TrainerTurn:
        """The trainer's view of it; `loaded` is called when that has its weights."""

        def load(framework: Framework) -> dict[str, Any]:
            state = load_state(Path(self.received), framework=framework)
            loaded()
            return state

        return TrainerTurn(
            run=self.run,
            lane=self.trained_in[1],
            term=self.term,
            round=self.round,
            hop=self.hop,
            rounds=self.rounds,
            site=self.site,
            seed=self.seed,
            find_device=lambda: self.device or best_device(),
            kind=Kind(self.kind),
            split=self.split,
            merged=self.merged,
            params=self.params,
            budget=Budget(**self.budget),
            data=self.data,
            load=load,
            report=log,
        )


def _seed(turn: Turn) -> int:
    id, seed = turn.id, turn.task.seed
    if turn.kind is Kind.EVALUATE:
        return evaluate_seed(seed=seed, round=id.round, site=turn.site)
    return turn_seed(seed=seed, round=id.round, hop=id.hop, site=turn.site, lane=id.lane)
