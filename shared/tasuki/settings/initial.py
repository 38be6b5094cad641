"""`[weights] initial = "run:..."`: a run that begins from the weights of another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasuki.core.model import check_name

_RUN = "run:"
_ROUND = re.compile(r"round-(\d{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWeights:
    """Which weights of which run: of the end of a round, the best, or else the newest."""

    run: str
    round: int | None = None
    is_best: bool = False


def of_run(initial: str) -> RunWeights | None:
    """What it names of a run; None: a factory, or a file.

    Raises:
        ValueError: it names a run, and no weights that one can have.
    """
    if not initial.startswith(_RUN):
        return None
    run, _, which = initial.removeprefix(_RUN).partition("/")
    try:
        check_name(run, what="run")
    except ValueError as exc:
        raise ValueError(f"{exc}; a module run.py with a factory needs another name") from exc
    if (found := _ROUND.fullmatch(which)) is not None:
        return RunWeights(run=run, round=int(found[1]))
    if which not in {"", "best", "latest"} or initial.endswith("/"):
        raise ValueError(
            f'{initial!r}: after the run comes nothing, "/best", "/latest" or "/round-7"'
        )
    return RunWeights(run=run, is_best=which == "best")
