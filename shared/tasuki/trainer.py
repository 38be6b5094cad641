"""What a trainer sees: the turn it was given, and the result it gives back.

from tasuki import Result, Turn

def train(turn: Turn) -> Result:
    net = Net()
    net.load_state_dict(turn.weights())
    ...
    turn.log(loss=loss, step=step)
    return turn.result(net.state_dict(), metrics={"accuracy": accuracy}, samples=n)

and, for turns that evaluate, beside it:

def evaluate(turn: Turn) -> Scores:
    ...
    return turn.scores({"accuracy": accuracy}, samples=n)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from numbers import Real
from typing import Any, Literal

from tasuki.core.model import Budget, Kind
from tasuki.errors import TrainerError

Framework = Literal["torch", "numpy"]
State = Mapping[str, Any]  # Any: a tensor or an array, whatever the trainer works with


def turn_seed(*, seed: int, round: int, hop: int, site: str, lane: int = 0) -> int:
    """The seed of one turn, below 2**32: the same however often the turn is repeated.

    The first four bytes of SHA-256 over `tasuki-turn/<seed>/<round>/<hop>/<site>`, big-endian; in
    another lane than 0, with `/<lane>` after it.
    """
    label = f"tasuki-turn/{seed}/{round}/{hop}/{site}" + (f"/{lane}" if lane else "")
    return _drawn(label)


def evaluate_seed(*, seed: int, round: int, site: str) -> int:
    """The seed of a turn that evaluates, below 2**32: that of its round and site alone.

    As above, over `tasuki-evaluate/<seed>/<round>/<site>`.
    """
    return _drawn(f"tasuki-evaluate/{seed}/{round}/{site}")


def _drawn(label: str) -> int:
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a turn gives back.

    Attributes:
        state: name -> tensor or array; the same names, shapes and dtypes as were received.
        metrics: numbers about the trained model; by convention those about the received one,
            before training, are called `received_...`.
        samples: how many the site trained on; weighs its metrics.
        is_difference: `state` is what to add to the received weights.
    """

    state: State
    metrics: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    is_difference: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a turn that evaluates gives back.

    Attributes:
        metrics: numbers about the received weights.
        samples: how many the site judged them on; weighs its metrics.
    """

    metrics: Mapping[str, float]
    samples: int = 0


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One site's turn with the weights, as its trainer sees it.

    Attributes:
        run, lane, term, round, hop: which turn; lane, round and hop count from 0. What is evaluated
            is of no lane: it has 0.
        rounds: how many rounds the run has.
        site: this site's name.
        params: the run's `[params]`.
        budget: how long to train: `epochs`, `steps` or `seconds`, each None unless the run says.
        seed: below 2**32; the same if this turn is repeated. Python, NumPy and torch are seeded
            with it already.
        kind: whether to train, or to evaluate: to score the received weights and change nothing.
        split: which data to evaluate on, as the run's `[evaluate] split` says; empty: it does not.
        merged: the received weights were just made of those of several lanes, and nobody has
            trained them since: see `recalibrate`.
        data: the site's `[data] path`, or None.
    """

    run: str
    lane: int
    term: int
    round: int
    hop: int
    rounds: int
    site: str
    seed: int
    kind: Kind = Kind.TRAIN
    split: str = ""
    merged: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)  # Any: the run's own keys
    budget: Budget = field(default_factory=Budget)
    data: str | None = None
    load: Callable[[Framework], dict[str, Any]] = field(repr=False)
    report: Callable[[Mapping[str, float]], None] = field(repr=False)
    find_device: Callable[[], str] = field(default=lambda: "cpu", repr=False)

    @cached_property
    def device(self) -> str:
        """ "cpu", "cuda" or "mps". Whoever never asks does not wait for torch to be imported."""
        return self.find_device()

    def weights(self, framework: Framework = "torch") -> dict[str, Any]:
        """The received weights, on the CPU: name -> torch.Tensor, or numpy.ndarray.

        They are in the order in which the run's first weights were listed. They are the trainer's
        own: changing them changes nothing elsewhere.
        """
        return self.load(framework)

    def log(self, **values: float) -> None:
        """Show progress: the operator sees the newest value of each name."""
        self.report(plain_numbers(values, what="turn.log"))

    def result(
        self, state: State, *, metrics: Mapping[str, float] | None = None, samples: int = 0
    ) -> Result:
        """The trained weights, ready to hand on."""
        return Result(
            state=state, metrics=plain_numbers(metrics or {}, what="metrics"), samples=samples
        )

    def difference(
        self, state: State, *, metrics: Mapping[str, float] | None = None, samples: int = 0
    ) -> Result:
        """As `result`, where `state` is what to add to the received weights."""
        numbers = plain_numbers(metrics or {}, what="metrics")
        return Result(state=state, metrics=numbers, samples=samples, is_difference=True)

    def scores(self, metrics: Mapping[str, float], *, samples: int = 0) -> Scores:
        """What `evaluate` returns: how good the received weights are here."""
        return Scores(metrics=plain_numbers(metrics, what="scores"), samples=samples)


def recalibrate(net: Any, batches: Iterable[Any]) -> None:  # Any: torch's, or what holds them
    """Estimate anew what the batch norms of a network know of their inputs.

    The mean of several networks is another function than any of them, and so are the means and
    variances inside it: those that were averaged fit none. Where `turn.merged` says so, estimate
    them on some batches of the site's own data before training or scoring, as is done after the
    one merge of arXiv:2507.06542 (ICLR 2026).

    All batches count alike. No gradients are computed, every module is as much in training mode as
    it was, and a network without batch norms is left alone.

    Args:
        net: a `torch.nn.Module` with the received weights.
        batches: what it takes; of a tuple or list, as data loaders give them, the first.

    Raises:
        TrainerError: there is no batch.
    """
    import_module("tasuki_site.tensors").recalibrate(net, batches)


def plain_numbers(values: Mapping[str, Any], *, what: str) -> dict[str, float]:
    """Plain floats, whatever scalar type they came as.

    Raises:
        TrainerError: one of them is no number.
    """
    if not isinstance(values, Mapping):
        raise TrainerError(
            f"{what}: {_kind(values)} is no dict of name to number; give {{'loss': 0.5}}"
        )
    return {str(name): _plain_number(value, f"{what}: {name}") for name, value in values.items()}


def _plain_number(value: Any, name: str) -> float:  # Any: of whatever scalar type it is
    try:
        scalar = value.item() if hasattr(value, "item") else value
        if isinstance(scalar, Real):
            return float(scalar)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        scalar = value  # several numbers, or one that no float holds
    if isinstance(scalar, Sized) and not isinstance(scalar, str):
        raise TrainerError(
            f"{name} is {_kind(scalar)}, not a number; give one (the last, the mean), or each a"
            " name of its own"
        )
    raise TrainerError(f"{name} is {scalar!r:.60}, not a number")


def _kind(value: object) -> str:
    shape = getattr(value, "shape", None)
    size = f" of {len(value)}" if isinstance(value, Sized) and shape is None else ""
    shown = "" if shape is None else f" of shape {list(shape)}"
    return f"a {type(value).__name__}{size}{shown}"
