"""Sites that come back too late: what they still do never enters the chain (P1)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.scripted import Row, Scripted, go_on
from tasuki.moments import Moment

Write = Callable[..., Path]
MIDDLE, LAST = "site-1", "site-3"  # of the order


def events(rows: list[Row]) -> list[str]:
    return [row["event"] for row in rows]


def refused(rows: list[Row]) -> set[str]:
    """Why results were refused."""
    outcomes = {row["outcome"].removeprefix("refused: ") for row in rows}
    return outcomes & {"stale_term", "stale_position", "fenced", "void"}


@pytest.mark.parametrize(
    ("moment", "hop"),
    [(Moment.PROGRESSED, 1), (Moment.TRAINED, 1), (Moment.WEIGHTS_CONFIRMED, 2)],
    ids=["while it trained", "when it had its result", "when it was about to send the turn"],
)
def test_a_site_that_stood_still_past_its_lease_is_fenced_and_its_result_refused(
    kept: Scripted, write: Write, moment: Moment, hop: int
) -> None:
    rule = f"{MIDDLE} {moment} stop round=0 hop={hop}"
    kept.follow(rule)
    run = kept.submit(write(failure='lease_s = 3\non_silent = "retry"', attempts=5))
    zombie = kept.await_stop(rule)
    kept.federation.await_log(LAST, f"fence raised .*{run}")
    after = {name: kept.federation[name].log.stat().st_size for name in (MIDDLE, LAST)}
    go_on(zombie)
    rows = kept.check(run)
    kept.check_spools()
    assert "LeaseExpired" in events(rows)
    assert refused(rows)
    dropped = f"dropped .*{run}/0 term 1 "
    assert any(
        kept.federation.has_logged(name, dropped, after=before) for name, before in after.items()
    )
