"""One turn, as the service hands it to a trainer: plain values that fit through a channel."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from tasuki.core.model import Budget, Kind, Turn, TurnId
from tasuki.errors import TasukiError, TrainerError, TrainerRaised
from tasuki.trainer import Framework, Result, plain_numbers, turn_seed
from tasuki.trainer import Turn as TrainerTurn
from tasuki.wire.spool import disk_errors
from tasuki.wire.weights import ResultOf, open_excerpts
from tasuki_site import tensors
from tasuki_site.shadows import shadow_hint

Log = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """What a trainer's process needs to know of a turn.

    Attributes:
        received: the file of the received weights.
        result: the file to write.
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
    params: Mapping[str, Any] = field(default_factory=dict)  # Any: the run's own keys
    budget: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    device: str | None = None
    received: str
    result: str
    non_finite: Sequence[str] = ()

    @classmethod
    def of(
        cls, turn: Turn, *, received: Path, result: Path, data: str | None, device: str | None
    ) -> Spell:
        id, task = turn.id, turn.task
        return cls(
            run=id.run,
            lane=id.lane,
            term=id.term,
            round=id.round,
            hop=id.hop,
            rounds=task.rounds,
            site=turn.site,
            seed=turn_seed(seed=task.seed, round=id.round, hop=id.hop, site=turn.site),
            kind=turn.kind.value,
            params=task.params,
            budget=asdict(task.budget),
            data=data,
            device=device,
            # The trainer's process has a working folder of its own.
            received=str(received.absolute()),
            result=str(result.absolute()),
            non_finite=task.non_finite,
        )

    def to_map(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def id(self) -> TurnId:
        return TurnId(run=self.run, lane=self.lane, term=self.term, round=self.round, hop=self.hop)

    def open(self, log: Log, *, loaded: Callable[[], None] = lambda: None) -> TrainerTurn:
        """The trainer's view of it; `loaded` is called when that has its weights."""

        def load(framework: Framework) -> dict[str, Any]:
            state = tensors.load_state(Path(self.received), framework=framework)
            loaded()
            return state

        return TrainerTurn(
            run=self.run,
            lane=self.lane,
            term=self.term,
            round=self.round,
            hop=self.hop,
            rounds=self.rounds,
            site=self.site,
            seed=self.seed,
            device=self.device or tensors.best_device(),
            kind=Kind(self.kind),
            params=self.params,
            budget=Budget(**self.budget),
            data=self.data,
            load=load,
            report=log,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a trainer achieved: its result is in the spell's file already."""

    digest: str
    size: int
    metrics: Mapping[str, float]
    samples: int


def seed_everything(seed: int) -> None:
    """Every generator that a trainer may draw from starts at the turn's seed."""
    random.seed(seed)
    np.random.seed(seed)
    tensors.seed_torch(seed)


def write_result(spell: Spell, result: object) -> Outcome:
    """Put a trainer's result where the service looks for it, digest and checks in one pass.

    Raises:
        TrainerError: it is no `Result`.
        NonFiniteWeights, WeightsError: it cannot be handed on.
        DiskFull, StorageError: it cannot be written.
    """
    if not isinstance(result, Result):
        raise TrainerError(
            f"the trainer returned {type(result).__name__}; return turn.result(state, metrics=...)"
        )
    metrics = plain_numbers(result.metrics, what="metrics")
    samples = _whole(result.samples)
    received = Path(spell.received)
    state = result.state
    if result.is_difference:
        state = tensors.apply_difference(received, state)
    path = Path(spell.result)
    with disk_errors(path), open_excerpts(received) as before:
        written = tensors.save_state(
            path,
            state,
            like=before.manifest,
            look=ResultOf(before).look,
            exempt=spell.non_finite,
        )
    return Outcome(digest=written.digest, size=written.size, metrics=metrics, samples=samples)


def _whole(samples: Any) -> int:  # Any: of whatever scalar type it is
    """Raises TrainerError: it is no number of samples."""
    number = plain_numbers({"samples": samples}, what="the result")["samples"]
    if not 0 <= number < 2**53 or number != int(number):
        raise TrainerError(f"the result has samples={samples!r:.60}, which is no number of samples")
    return int(number)


def failure_of(exc: BaseException) -> tuple[str, str]:
    """What to tell the operator: the class of error, and a text with the last frames."""
    if isinstance(exc, TasukiError):
        return type(exc).__name__, str(exc)
    frames = "".join(traceback.format_exception(exc, limit=-4)).strip()
    if (hint := shadow_hint(exc)) is not None:
        frames += f"\n{hint}"
    return TrainerRaised.__name__, frames[-4000:]
