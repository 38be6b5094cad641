"""A result that asks to be handed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasuki.core.model import Task
from tasuki_site.trainer.result import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a trainer made of what it received; both are files of weights."""

    task: Task
    received: Path
    result: Path
    outcome: Outcome
