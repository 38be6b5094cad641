"""The test trainings without Tasuki: what every kind of relay has to end with."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from blake3 import blake3
from safetensors.numpy import save

from support.simulation import TRAINERS

Order = Sequence[Sequence[str | None]]
"""The sites of each round; None for a turn that was skipped."""


def plain_loop(order: Order, *, make: str = "make") -> str:
    """The digest after these rounds of the random walk: a loop, numpy and two hashes."""
    walk = load_trainer("walk")
    state = getattr(walk, make)()
    for round, sites in enumerate(order):
        for hop, site in enumerate(sites):
            if site is not None:
                state = walk.walk(state, seed_of(round, hop, site))
    return digest_of(state)


@dataclass
class Judged:
    """What a loop without Tasuki knows of rounds that all sites have scored, by their number.

    Attributes:
        digest: of what it ended with.
        rounds: after how many it ended.
        best: the round whose number is the best one, and that number.
    """

    sites: dict[int, dict[str, float]] = field(default_factory=dict)
    mean: dict[int, float] = field(default_factory=dict)
    worst: dict[int, float] = field(default_factory=dict)
    digest: str = ""
    rounds: int = 0
    best: tuple[int, float] | None = None


def judged_loop(
    order: Order,
    sites: Sequence[str],
    *,
    make: str = "make",
    every: int = 1,
    at_end: bool = True,
    of: str = "mean",
    split: str = "",
    target: float | None = None,
    patience: int | None = None,
    min_delta: float = 0.0,
) -> Judged:
    """Train, let all these sites score, choose the best round, stop early: numpy and plain sums."""
    walk, judged = load_trainer("walk"), Judged()
    state, peak, waited, is_enough = getattr(walk, make)(), None, 0, False
    while judged.rounds < len(order) and not is_enough:
        for hop, site in enumerate(order[judged.rounds]):
            if site is not None:
                state = walk.walk(state, seed_of(judged.rounds, hop, site))
        judged.rounds += 1
        is_last = judged.rounds == len(order)
        if judged.rounds % every and not (is_last and at_end):
            continue
        total, weight = 0.0, 0
        row = judged.sites.setdefault(judged.rounds, {})
        for site in sites:
            metrics, samples = walk.judged(state, site, split)
            row[site] = metrics["accuracy"]
            total, weight = total + samples * metrics["accuracy"], weight + samples
        mean, worst = total / weight, min(row.values())
        judged.mean[judged.rounds], judged.worst[judged.rounds] = mean, worst
        value = mean if of == "mean" else worst
        if judged.best is None or value > judged.best[1]:
            judged.best = (judged.rounds, value)
        if peak is None or value - peak > min_delta:
            peak, waited = value, 0
        else:
            waited += 1
        is_enough = (target is not None and value >= target) or waited == patience
    judged.digest = digest_of(state)
    return judged


def plain_torch_loop(order: Order) -> str:
    """The digest after these rounds of gradient descent with torch."""
    import torch
    from safetensors.torch import save as save_torch

    sgd = load_trainer("sgd")
    torch.manual_seed(seed_of(0, 0, "initial"))
    state = sgd.net().state_dict()
    for round, sites in enumerate(order):
        for hop, site in enumerate(sites):
            if site is None:
                continue
            torch.manual_seed(seed_of(round, hop, site))
            model = sgd.net()
            model.load_state_dict(state)
            sgd.fit(model)
            state = model.state_dict()
    return _digest(state, save_torch)


def digest_of(state: Mapping[str, Any]) -> str:  # Any: arrays
    """Of these arrays as a file."""
    contiguous = {name: np.asarray(value, order="C") for name, value in state.items()}
    return _digest(contiguous, save)


def _digest(state: Mapping[str, Any], save: Callable[..., bytes]) -> str:  # Any: tensors or arrays
    """Of the library's own file with what ours says of the order that the state is in."""
    plain = save(state)
    header = json.loads(plain[8 : 8 + int.from_bytes(plain[:8], "little")])
    order = [list(header).index(name) for name in state]
    if order != sorted(order):
        kept = {"tasuki_order": json.dumps(order, separators=(",", ":"))}
        plain = save(state, metadata=kept)
    return f"blake3:{blake3(plain).hexdigest()}"


def seed_of(round: int, hop: int, site: str, *, seed: int = 7, lane: int = 0) -> int:
    label = f"tasuki-turn/{seed}/{round}/{hop}/{site}" + (f"/{lane}" if lane else "")
    return int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")


def load_trainer(name: str) -> ModuleType:
    """A trainer's module, beside any other of its name."""
    spec = importlib.util.spec_from_file_location(f"{name}_alone", TRAINERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
