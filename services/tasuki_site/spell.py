"""One turn, as the service hands it to a trainer: plain values that fit through a channel."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import dropwhile
from pathlib import Path
from typing import Any

from tasuki import errors
from tasuki.core.model import Budget, Kind, Turn, TurnId
from tasuki.disk.errors import disk_errors, is_disk_full
from tasuki.errors import DiskFull, TasukiError, TrainerError, TrainerRaised
from tasuki.trainer import Framework, Result, plain_numbers, turn_seed
from tasuki.trainer import Turn as TrainerTurn
from tasuki.weights.container import ResultOf, open_excerpts
from tasuki_site import tensors
from tasuki_site.shadows import shadow_hint

MOST_HEADLINE = 300
MOST_FRAMES = 1650
"""With the headline no more than what a report carries, `MOST_DETAIL`."""

_EXIT = "\nIt called sys.exit, which ends nothing here: let it return, or raise what is wrong"
_ARGUMENTS = (
    "\nIt reads arguments with argparse, and there are none: give each a default, or read them only"
    " under `if __name__ == '__main__':`"
)

_OURS = str(Path(__file__).parent)
Log = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """What a trainer's process needs to know of a turn.

    Attributes:
        received: the file of the received weights.
        result: the file to write.
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
            find_device=lambda: self.device or tensors.best_device(),
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
    kind = DiskFull if is_disk_full(exc) else TrainerRaised  # its own files fill a disk as well
    said = traceback.TracebackException.from_exception(exc)
    frames = _frames(said)[-MOST_FRAMES:]
    if (hint := shadow_hint(exc)) is not None:
        frames += f"\n{hint}"
    if isinstance(exc, SystemExit):
        frames += _ARGUMENTS if _is_for_arguments(exc) else _EXIT
    return kind.__name__, f"{_first_line(said)}\n{frames}"


def _first_line(said: traceback.TracebackException) -> str:
    """What was raised. Of a syntax error Python says first where it is."""
    lines = "".join(said.format_exception_only()).strip().splitlines()
    return lines[-1 if _is_syntax_error(said) else 0][:MOST_HEADLINE]


def _is_syntax_error(said: traceback.TracebackException) -> bool:
    return issubclass(said.exc_type, SyntaxError)


def _is_for_arguments(exc: SystemExit) -> bool:
    frames = traceback.extract_tb(exc.__traceback__)
    return any(map(_reads_arguments, frames))


def _reads_arguments(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).name == "argparse.py"


def _frames(said: traceback.TracebackException) -> str:
    """The last frames before it happened, without those of ours that led to the site's code."""
    link: traceback.TracebackException | None = said
    while link is not None:
        theirs = list(dropwhile(_leads_there, link.stack))
        while theirs and _reads_arguments(theirs[-1]):
            theirs.pop()  # whose arguments they are is the frame before
        if not theirs and not _is_syntax_error(link):
            theirs = list(link.stack)
        link.stack = traceback.StackSummary.from_list(theirs[-4:])
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "".join(said.format()).strip()


def _leads_there(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith((_OURS, "<frozen ")) or "/concurrent/" in frame.filename


def told_error(name: str, detail: str) -> TasukiError:
    """The error that a process of the site's code told of, by the name of its class."""
    kind = getattr(errors, name, TrainerError)
    return kind(detail)
