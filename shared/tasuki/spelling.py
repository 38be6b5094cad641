"""What somebody may have meant who wrote a name that is none."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def did_you_mean(
    word: str, known: Collection[str], *, before: str = "", after: str = "", otherwise: str = ""
) -> str:
    """The question with what goes around it; `otherwise`: what is said where nothing is near.

    The only one that begins with the word is nearer than any that looks like it.
    """
    longer = [name for name in known if word and name.startswith(word)]
    near = longer if len(longer) == 1 else get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"{before}did you mean {near[0]!r}?{after}" if near else otherwise
