"""Tasuki: cyclic weight transfer. Sites train one model together, one at a time.

The names here are for trainers, and for whoever runs them from Python; everything else is imported
from where it lives.
"""

from importlib import import_module

from tasuki.trainer import Result, Scores, Turn

__all__ = ["Result", "Scores", "Turn", "__version__", "connect", "simulate"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """What runs services is imported when it is used: a trainer's process needs none of it."""
    if name in {"connect", "simulate"}:
        return getattr(import_module("tasuki_python"), name)
    raise AttributeError(f"module 'tasuki' has no attribute {name!r}")
