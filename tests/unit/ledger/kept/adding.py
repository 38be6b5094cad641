"""Trains nothing but sums, so that its weights are the same on every machine."""

from __future__ import annotations

import numpy as np

from tasuki import Result, Turn


def make() -> dict[str, np.ndarray]:
    return {"w": np.zeros(4, "float32")}


def train(turn: Turn) -> Result:
    if turn.params.get("fails") == turn.site and turn.round == 1:
        raise RuntimeError("the scanner is on fire")
    w = turn.weights("numpy")["w"] + np.float32(turn.seed % 97)
    return turn.result({"w": w}, metrics={"accuracy": float(w.mean())}, samples=8)
