"""Tasuki: cyclic weight transfer. Sites train one model together, one at a time.

The names here are for trainers; everything else is imported from where it lives.
"""

from tasuki.trainer import Result, Scores, Turn

__all__ = ["Result", "Scores", "Turn", "__version__"]

__version__ = "0.1.0"
