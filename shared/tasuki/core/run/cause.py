"""Why a run ended, in words for the operator."""

from __future__ import annotations

from collections.abc import Sequence

MOST_NAMED = 8
"""Sites that a sentence names."""


def why_finished(left_out: Sequence[str], *, enough: str = "") -> str:
    """The end of a run, with those of whom nobody would find out otherwise.

    Args:
        enough: why it ended before its last round; empty if it did not.
    """
    done = f"enough: {enough}" if enough else "every round is done"
    return f"{done}, and {never_trained(left_out)}" if left_out else done


def never_trained(left_out: Sequence[str]) -> str:
    """That sites were passed over each time, in words."""
    named, more = ", ".join(left_out[:MOST_NAMED]), len(left_out) - MOST_NAMED
    return f"no turn of {named}{f' and {more} more' if more > 0 else ''} was accepted in any"
