"""Why a run ended, in words for the operator."""

from __future__ import annotations

from collections.abc import Sequence

DONE = "every round is done"
"""Why a run is over of which there is nothing else to say."""

MOST_NAMED = 8
"""Sites that a sentence names."""


def why_finished(left_out: Sequence[str], *, enough: str = "", unjudged: str = "") -> str:
    """The end of a run, with those of whom nobody would find out otherwise.

    Args:
        enough: why it ended before its last round; empty if it did not.
        unjudged: the metric by which no site has scored; empty if there is none.
    """
    done = f"enough: {enough}" if enough else DONE
    never = f"no site has scored by {unjudged}, so that no round is the best (see `tasuki scores`)"
    but = [never] if unjudged else []
    but += [never_trained(left_out)] if left_out else []
    return ", and ".join([done, *but])


def never_trained(left_out: Sequence[str]) -> str:
    """That sites were passed over each time, in words."""
    named, more = ", ".join(left_out[:MOST_NAMED]), len(left_out) - MOST_NAMED
    return f"no turn of {named}{f' and {more} more' if more > 0 else ''} was accepted in any"
