"""What went wrong in a site's own code, in words that an operator can use."""

from __future__ import annotations

import traceback
from itertools import dropwhile
from pathlib import Path

from tasuki import errors
from tasuki.disk.errors import is_disk_full
from tasuki.errors import DiskFull, TasukiError, TrainerError, TrainerRaised
from tasuki_site.trainer.channel import Map
from tasuki_site.trainer.shadowed_modules import shadow_hint

MOST_HEADLINE = 300
MOST_FRAMES = 1650
"""With the headline no more than what a report carries, `MOST_DETAIL`."""

_EXIT = "\nIt called sys.exit, which ends nothing here: let it return, or raise what is wrong"
_ARGUMENTS = (
    "\nIt reads arguments with argparse, and there are none: give each a default, or read them only"
    " under `if __name__ == '__main__':`"
)

_OURS = str(Path(__file__).parents[1])


def failure_told(exc: BaseException) -> Map:
    """What a process says to its site of what its code raised."""
    error, detail = failure_of(exc)
    # Whoever ends a program by sys.exit has most often printed why.
    has_printed = isinstance(exc, SystemExit) or isinstance(exc.__cause__, SystemExit)
    return {"error": error, "detail": detail, "has_printed": has_printed}


def failure_of(exc: BaseException) -> tuple[str, str]:
    """What to tell the operator: the class of error, and a text with the last frames."""
    if isinstance(exc, TasukiError):
        return type(exc).__name__, str(exc)
    kind = DiskFull if is_disk_full(exc) else TrainerRaised  # its own files fill a disk as well
    said = traceback.TracebackException.from_exception(exc)
    frames = _frames(said)[-MOST_FRAMES:]
    if (hint := shadow_hint(exc)) is not None:
        frames += f"\n{hint}"
    if isinstance(exc, SystemExit):
        frames += _ARGUMENTS if _is_for_arguments(exc) else _EXIT
    return kind.__name__, f"{_first_line(said)}\n{frames}"


def _first_line(said: traceback.TracebackException) -> str:
    """What was raised. Of a syntax error Python says first where it is."""
    lines = "".join(said.format_exception_only()).strip().splitlines()
    return lines[-1 if _is_syntax_error(said) else 0][:MOST_HEADLINE]


def _is_syntax_error(said: traceback.TracebackException) -> bool:
    return issubclass(said.exc_type, SyntaxError)


def _is_for_arguments(exc: SystemExit) -> bool:
    frames = traceback.extract_tb(exc.__traceback__)
    return any(map(_reads_arguments, frames))


def _reads_arguments(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).name == "argparse.py"


def _frames(said: traceback.TracebackException) -> str:
    """The last frames before it happened, without those of ours that led to the site's code."""
    link: traceback.TracebackException | None = said
    while link is not None:
        theirs = list(dropwhile(_leads_there, link.stack))
        while theirs and _reads_arguments(theirs[-1]):
            theirs.pop()  # whose arguments they are is the frame before
        if not theirs and not _is_syntax_error(link):
            theirs = list(link.stack)
        link.stack = traceback.StackSummary.from_list(theirs[-4:])
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "".join(said.format()).strip()


def _leads_there(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith((_OURS, "<frozen ")) or "/concurrent/" in frame.filename


def told_error(name: str, detail: str) -> TasukiError:
    """The error that a process of the site's code told of, by the name of its class."""
    kind = getattr(errors, name, TrainerError)
    return kind(detail)
