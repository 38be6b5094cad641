"""Which processes there are, as the kernel has it: what was ended must not be among them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def naming(*words: object) -> list[str]:
    """The command lines of the living processes that have all of these in theirs."""
    wanted = [str(word) for word in words]
    lines = (_command_line(place) for place in Path("/proc").glob("[0-9]*"))
    return [line for line in lines if line and all(word in line for word in wanted)]


def _command_line(place: Path) -> str:
    """Empty: it is gone, or dead and not buried yet."""
    with suppress(OSError):
        return (place / "cmdline").read_text(errors="replace").replace("\0", " ")
    return ""
