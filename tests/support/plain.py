"""The test training without Tasuki: what every kind of relay has to end with."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from blake3 import blake3
from safetensors.numpy import save

from support.simulation import TRAINERS


def plain_loop(order: Sequence[Sequence[str]], *, seed: int = 7) -> str:
    """The digest after these rounds of sites: a loop, numpy and two hashes."""
    walk = load_walk()
    state = walk.make()
    for round, sites in enumerate(order):
        for hop, site in enumerate(sites):
            label = f"tasuki-turn/{seed}/{round}/{hop}/{site}".encode()
            turn_seed = int.from_bytes(hashlib.sha256(label).digest()[:4], "big")
            state = walk.walk(state, turn_seed)
    contiguous = {name: np.asarray(value, order="C") for name, value in state.items()}
    return f"blake3:{blake3(save(contiguous)).hexdigest()}"


def load_walk() -> ModuleType:
    """The trainers' module, beside any other of its name."""
    spec = importlib.util.spec_from_file_location("walk_alone", TRAINERS / "walk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
