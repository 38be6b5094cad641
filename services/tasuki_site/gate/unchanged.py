"""A result that is what was received says so by its digest, or is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tasuki.core.model import Kind, Turn
from tasuki.errors import GateRejected
from tasuki.weights.container import BLOCK_BYTES, WeightsFile, open_weights
from tasuki_site.gate.candidate import Candidate
from tasuki_site.trainer.result import Outcome


def as_received(turn: Turn, candidate: Candidate) -> Outcome:
    """The outcome, by the digest that was received if the values are the same, in whatever form.

    First weights may be a file that others wrote: the same tensors in a container of another form.
    Then the result becomes that very file, so that the record alone says that nothing was trained.

    Raises:
        GateRejected: nothing was trained, and the run refuses that.
    """
    received, result, outcome = candidate.received, candidate.result, candidate.outcome
    if outcome.digest != turn.weights.digest:
        if _header(received) == _header(result) or not _are_equal(received, result):
            return outcome
        shutil.copyfile(received, result)
    if turn.task.refuses_unchanged and turn.kind is Kind.TRAIN:
        raise GateRejected(
            "the turn handed on exactly what it received, which [gate] unchanged refuses: look for"
            " training that believes it is done, or that resumed from a file of its own"
        )
    return replace(outcome, digest=turn.weights.digest, size=turn.weights.size)


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(8)
        return head + file.read(int.from_bytes(head, "little"))


def _are_equal(received: Path, result: Path) -> bool:
    with open_weights(received) as before, open_weights(result) as after:
        olds, news = (dict(_by_name(file)) for file in (before, after))
        return olds.keys() == news.keys() and all(_is_same(olds[name], news[name]) for name in olds)


def _by_name(file: WeightsFile) -> Iterator[tuple[str, memoryview]]:
    return ((spec.name, view) for spec, view in file.tensors())


def _is_same(one: memoryview, other: memoryview) -> bool:
    step = BLOCK_BYTES
    pieces = range(0, max(len(one), len(other)), step)
    return all(bytes(one[at : at + step]) == bytes(other[at : at + step]) for at in pieces)
