"""What torch computes on here, and where its generators start."""

from __future__ import annotations

import importlib.util


def best_device() -> str:
    """Where torch trains fastest here: "cuda", "mps" or "cpu"; "cpu" if there is no torch."""
    if not _has_torch():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def seed_torch(seed: int) -> None:
    """Seed torch's generators on every device, if there is torch: a trainer may import it late."""
    if _has_torch():
        import torch

        torch.manual_seed(seed)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None
