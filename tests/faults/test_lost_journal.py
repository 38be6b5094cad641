"""A site that comes back with nothing in the middle of its turn (P2).

It reads its stream from the start again, so what it spools of old runs stays until its limit:
these tests do not look at the spools, and have a federation to themselves.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.scripted import Scripted
from tasuki.moments import Moment

Write = Callable[..., Path]
MIDDLE = "site-1"  # of the order


@pytest.mark.parametrize(
    "more",
    [(), (f"{MIDDLE} {Moment.STARTED} kill",)],
    ids=["tells of it at once", "is killed before it can tell"],
)
def test_a_site_that_lost_its_journal_gets_its_turn_again(
    kept: Scripted, write: Write, more: tuple[str, ...]
) -> None:
    rule = f"{MIDDLE} {Moment.PROGRESSED} stop round=0 hop=1"
    kept.follow(rule)
    run = kept.submit(write(failure='on_silent = "wait"'))
    kept.await_stop(rule)
    with kept.supervisor.down(MIDDLE):
        shutil.rmtree(kept.federation.folder / f"data-{MIDDLE}")
        kept.follow(*more)
    events = [row["event"] for row in kept.check(run)]
    assert all(kept.reached(rule) for rule in more)
    assert "SiteForgot" in events
    assert "LeaseExpired" not in events
