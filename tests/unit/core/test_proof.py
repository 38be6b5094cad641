"""Of two runs of one name, the one that was submitted later counts."""

from __future__ import annotations

import pytest

from tasuki.core.trust import Submission
from tasuki.core.turn.proof import why_other

NONE = Submission()
FIRST = Submission(about="1", began=1.0)
SECOND = Submission(about="2", began=2.0)


@pytest.mark.parametrize(
    ("known", "said", "reason"),
    [
        (NONE, NONE, ""),
        (NONE, FIRST, ""),
        (FIRST, FIRST, ""),
        (FIRST, SECOND, ""),
        (SECOND, FIRST, "older_run"),
        (FIRST, Submission(about="2", began=1.0), "older_run"),
        (FIRST, NONE, "other_run"),
    ],
)
def test_a_turn_of_a_run_that_does_not_count_is_refused(
    known: Submission, said: Submission, reason: str
) -> None:
    assert reason == why_other(known, said)
