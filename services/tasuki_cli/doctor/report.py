"""What was looked at and what was found: values, and the rule that one failure hides the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from tasuki.errors import TasukiError


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"  # it works now, and may not for long
    FAIL = "fail"
    SKIPPED = "skipped"  # an earlier failure leaves nothing to look at, or nobody can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look showed, if that is no failure.

    Attributes:
        brief: the same in a few words, where all of it is too long for a line.
    """

    found: str
    status: Status = Status.OK
    brief: str = ""


class Diagnosis(Exception):
    """A failure that needs another advice than its step has."""

    def __init__(self, error: TasukiError, *, advice: str) -> None:
        super().__init__(error)
        self.error = error
        self.advice = advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to look at.

    Attributes:
        look: says what it found; raises the TasukiError that the service itself would have, or a
            `Diagnosis` with it.
        advice: what to do if that is a warning or a failure.
    """

    name: str
    look: Callable[[], Finding]
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the report."""

    name: str
    status: Status
    found: str
    brief: str = ""
    advice: str = ""
    error: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it, in order."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """Of the first failure; 0 if there is none."""
        failed = (check.exit_code for check in self.checks if check.status is Status.FAIL)
        return next(failed, 0)

    def to_map(self) -> dict[str, Any]:  # Any: JSON
        return {"ok": self.exit_code == 0, "checks": [asdict(check) for check in self.checks]}


def in_order(steps: Iterable[Step], *, after: Iterable[Check] = ()) -> tuple[Check, ...]:
    """Each step needs those before it, and all of `after`: once one failed, the rest is skipped."""
    checks: list[Check] = []
    failed = next((check.name for check in after if check.status is Status.FAIL), "")
    for step in steps:
        if failed:
            found = f"not looked at: {failed} has to work first"
            checks.append(Check(name=step.name, status=Status.SKIPPED, found=found))
            continue
        check = examine(step)
        checks.append(check)
        if check.status is Status.FAIL:
            failed = step.name
    return tuple(checks)


def examine(step: Step) -> Check:
    """One look."""
    try:
        finding = step.look()
    except Diagnosis as exc:
        return _failed(step, exc.error, advice=exc.advice)
    except TasukiError as exc:
        return _failed(step, exc, advice=step.advice)
    return Check(
        name=step.name,
        status=finding.status,
        found=finding.found,
        brief=finding.brief,
        advice=step.advice if finding.status is Status.WARN else "",
    )


def _failed(step: Step, error: TasukiError, *, advice: str) -> Check:
    return Check(
        name=step.name,
        status=Status.FAIL,
        found=str(error),
        advice=advice,
        error=type(error).__name__,
        exit_code=error.exit_code,
    )
