"""kill -9 of whoever has something to lose, at every moment of a turn: P1, P2 and P4.

Each service is started again as soon as it has ended, and nobody else does anything.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.scripted import Row, Scripted, go_on
from tasuki.core.model import CONTROLLER
from tasuki.moments import Moment

Write = Callable[..., Path]
MIDDLE, LAST = "site-1", "site-3"  # of the order

SITES = {
    "before the turn is journaled": (MIDDLE, Moment.TURN_RECEIVED, 1),
    "when the turn is journaled and not acknowledged": (MIDDLE, Moment.TURN_JOURNALED, 1),
    "when half of the weights have come": (MIDDLE, Moment.CHUNKS_HALF_RECEIVED, None),
    "when the weights are complete": (MIDDLE, Moment.WEIGHTS_COMPLETE, 1),
    "when training begins": (MIDDLE, Moment.TRAINING, 1),
    "in the middle of training": (MIDDLE, Moment.PROGRESSED, 1),
    "when the result is there and not journaled": (MIDDLE, Moment.TRAINED, 1),
    "when the result is journaled and not sent": (MIDDLE, Moment.RESULT_JOURNALED, 1),
    "when half of the weights are sent": (MIDDLE, Moment.CHUNKS_HALF_SENT, 2),
    "when the weights are sent and the turn is not": (MIDDLE, Moment.WEIGHTS_CONFIRMED, 2),
    "when the turn is sent and not confirmed": (MIDDLE, Moment.TURN_SENT, 2),
    "when the turn is confirmed and that is not journaled": (MIDDLE, Moment.CONFIRMED, 1),
    "when the hand-over is journaled and not reported": (MIDDLE, Moment.HANDED_OVER, 1),
    "when half of the round's weights are sent": (LAST, Moment.CHUNKS_HALF_SENT, 3),
    "when the round's weights are sent and that is not journaled": (LAST, Moment.CONFIRMED, 2),
    "when the round's end is journaled and not reported": (LAST, Moment.HANDED_OVER, 2),
}
TRAINERS = {
    "before it has its weights": Moment.TRAINER_ASKED,
    "in the middle of training": Moment.TRAINER_LOADED,
    "before it has written its result": Moment.TRAINER_RETURNED,
    "before it has told of its result": Moment.TRAINER_SAVED,
}
CONTROLLERS = {
    "between ledger and first turn": (Moment.LEDGER_APPENDED, 0, 0),
    "between ledger and turn": (Moment.LEDGER_APPENDED, 1, 0),
    "when half of the weights are sent": (Moment.CHUNKS_HALF_SENT, 1, 0),
    "when the weights are sent and the turn is not": (Moment.WEIGHTS_CONFIRMED, 1, 0),
    "when the turn is sent and not confirmed": (Moment.TURN_SENT, 1, 0),
    "when the turn is sent and that is not on record": (Moment.CONFIRMED, 1, 0),
    "before a report is on record": (Moment.REPORT_RECEIVED, 0, 1),
    "when a report is on record and not acknowledged": (Moment.LEDGER_APPENDED, 0, 2),
    "when the round's weights have come": (Moment.WEIGHTS_COLLECTED, 0, 3),
    "when the checkpoint is saved and that is not on record": (Moment.CHECKPOINT_SAVED, 1, 0),
}


def events(rows: list[Row]) -> list[str]:
    return [row["event"] for row in rows]


def killed(kept: Scripted, run_toml: Path, rule: str) -> list[Row]:
    """Follow one rule through one run; what the ledger says of it."""
    kept.follow(rule)
    rows = kept.check(kept.submit(run_toml))
    kept.check_spools()
    assert kept.reached(rule)
    return rows


@pytest.mark.parametrize(("site", "moment", "hop"), SITES.values(), ids=SITES)
def test_a_site_killed_goes_on_from_its_journal(
    kept: Scripted, write: Write, site: str, moment: Moment, hop: int | None
) -> None:
    where = "" if hop is None else f" round=0 hop={hop}"
    rows = killed(kept, write(), f"{site} {moment} kill{where}")
    # It needs neither the lease nor another attempt.
    assert not {"LeaseExpired", "TurnFailed", "SiteForgot"} & set(events(rows))


@pytest.mark.parametrize("moment", TRAINERS.values(), ids=TRAINERS)
def test_a_trainer_killed_costs_its_turn_and_that_is_on_record(
    kept: Scripted, write: Write, moment: Moment
) -> None:
    rows = killed(kept, write(), f"trainer {moment} kill round=0 hop=1")
    (failed,) = [row for row in rows if row["event"] == "TurnFailed"]
    assert "TrainerDied" in failed["what"]


@pytest.mark.parametrize(("moment", "round", "hop"), CONTROLLERS.values(), ids=CONTROLLERS)
def test_a_controller_killed_goes_on_from_its_ledger(
    kept: Scripted, write: Write, moment: Moment, round: int, hop: int
) -> None:
    rule = f"{CONTROLLER} {moment} kill round={round} hop={hop}"
    rows = killed(kept, write(), rule)
    assert not {"LeaseExpired", "TurnFailed", "WeightsLost"} & set(events(rows))


def test_a_controller_that_is_away_over_the_end_of_a_round_catches_up(
    kept: Scripted, write: Write
) -> None:
    kept.follow(f"{MIDDLE} {Moment.TURN_RECEIVED} stop round=0 hop=1")
    run = kept.submit(write())
    standing = kept.await_stop(f"{MIDDLE} {Moment.TURN_RECEIVED} stop round=0 hop=1")
    with kept.supervisor.down(CONTROLLER):
        go_on(standing)
        kept.federation.await_log(LAST, f"handed over .*{run}/0 term 1 round 0 hop 2")
    kept.check(run)


def test_everybody_is_killed_again_and_again_and_the_weights_are_the_same(
    kept: Scripted, write: Write
) -> None:
    rules = [
        f"{CONTROLLER} {Moment.TURN_SENT} kill round=0 hop=0",
        f"site-2 {Moment.TURN_JOURNALED} kill round=0 hop=0",
        f"site-2 {Moment.TURN_SENT} kill round=0 hop=1",
        f"{MIDDLE} {Moment.TURN_RECEIVED} kill round=0 hop=1",
        f"{CONTROLLER} {Moment.REPORT_RECEIVED} kill round=0 hop=1",
        f"{MIDDLE} {Moment.PROGRESSED} kill round=0 hop=1",
        f"{MIDDLE} {Moment.RESULT_JOURNALED} kill round=0 hop=1",
        f"{MIDDLE} {Moment.CONFIRMED} kill round=0 hop=1",
        f"{LAST} {Moment.HANDED_OVER} kill round=0 hop=2",
        f"{CONTROLLER} {Moment.CHECKPOINT_SAVED} kill",
        f"{CONTROLLER} {Moment.CONFIRMED} kill round=1 hop=0",
        f"trainer {Moment.TRAINER_SAVED} kill round=1 hop=0",
    ]
    kept.follow(*rules)
    kept.check(kept.submit(write()))
    kept.check_spools()
    assert [rule for rule in rules if not kept.reached(rule)] == []
