"""Every generator that a trainer may draw from starts at the turn's seed.

A framework is seeded when it is there, and one that the trainer imports later as soon as it is: to
import it only to seed it would cost every trainer seconds, and most of them gigabytes.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import random
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from tasuki_site.tensors import seed_torch

_FRAMEWORKS: dict[str, Callable[[Any, int], object]] = {  # Any: the framework
    "torch": lambda _, seed: seed_torch(seed),
    "tensorflow": lambda tensorflow, seed: tensorflow.random.set_seed(seed),
}


def seed_everything(seed: int) -> None:
    """Python, NumPy and, now or once they are imported, PyTorch and TensorFlow."""
    random.seed(seed)
    np.random.seed(seed)
    for name, apply in _FRAMEWORKS.items():
        if (framework := sys.modules.get(name)) is not None:
            apply(framework, seed)
    _LATER.seed = seed
    if _LATER not in sys.meta_path:
        sys.meta_path.insert(0, _LATER)


class _Later(importlib.abc.MetaPathFinder):
    """Seeds a framework when it is imported after the seed was set."""

    seed = 0
    _is_looking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _FRAMEWORKS or self._is_looking:
            return None
        self._is_looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._is_looking = False
        if spec is not None and spec.loader is not None:
            self._seed_after(spec.loader, name)
        return spec

    def _seed_after(self, loader: Any, name: str) -> None:  # Any: any loader has this method
        import_it = loader.exec_module

        def import_and_seed(module: ModuleType) -> None:
            import_it(module)
            _FRAMEWORKS[name](module, self.seed)

        loader.exec_module = import_and_seed


_LATER = _Later()
