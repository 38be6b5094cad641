"""Words of others on their way to a terminal, which obeys what it is sent.

A site's error, the name of a metric, a broker's answer: they can hold sequences that clear the
screen, change what was written before, or turn the direction of what follows.
"""

from __future__ import annotations

_TRACEBACK = "Traceback (most recent call last):"


def printable(text: str) -> str:
    r"""Letters, lines and tabs as they are; what would steer a terminal is spelled out: `\x1b`."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def shortened(text: str, most: int) -> str:
    """Words of others, cut where there is no room."""
    line = one_line(text)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def one_line(text: str) -> str:
    """Words of others where only one line is: what would steer a terminal is spelled out."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def headline(text: str) -> str:
    """The line of a longer text that says it best, for where there is room for one.

    Of a traceback that is the last: the exception and what it says.
    """
    first, *more = text.strip().splitlines() or [""]
    before, traceback, _ = first.partition(_TRACEBACK)
    if traceback and more:
        return f"{before}{more[-1].strip()} ..."
    return f"{first} ..." if more else first
