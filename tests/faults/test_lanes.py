"""Several lanes on a broker, whoever is killed: the weights of a plain loop, and nothing lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from support.federation import SITES
from support.plain import digest_of
from support.plain_lanes import Planned, plain_lanes
from support.scripted import ROUNDS, Row, Scripted
from support.waiting import wait_until
from tasuki.core.model import CONTROLLER
from tasuki.moments import Moment

Write = Callable[..., Path]
ALL = Planned(sites=SITES, count=3, cover="all", rounds=ROUNDS)
SHARED = replace(ALL, cover="share")
SAMPLES = dict.fromkeys(SITES, 8)
KILLS = 20

CONTROLLERS = {
    "when a lane's weights have come and that is not on record": (Moment.WEIGHTS_COLLECTED, 0, 1),
    "when a lane's end is on record and not acknowledged": (Moment.LEDGER_APPENDED, 0, 2),
    "before anything is merged": (Moment.MERGE_BEGUN, 0, 0),
    "when all lanes are merged and that is not on record": (Moment.MERGE_WRITTEN, 0, 0),
    "when what they became is saved and that is not on record": (
        Moment.CHECKPOINT_SAVED,
        1,
        0,
    ),  # then that of the next round is expected
}
ANYWHERE = {
    CONTROLLER: (
        Moment.LEDGER_APPENDED,
        Moment.REPORT_RECEIVED,
        Moment.TURN_SENT,
        Moment.WEIGHTS_COLLECTED,
        Moment.MERGE_BEGUN,
        Moment.MERGE_WRITTEN,
        Moment.CHECKPOINT_SAVED,
    ),
    "trainer": (Moment.TRAINER_LOADED, Moment.TRAINER_SAVED),
    **dict.fromkeys(
        SITES,
        (
            Moment.TURN_RECEIVED,
            Moment.TURN_JOURNALED,
            Moment.PROGRESSED,
            Moment.RESULT_JOURNALED,
            Moment.WEIGHTS_CONFIRMED,
            Moment.TURN_SENT,
            Moment.HANDED_OVER,
        ),
    ),
}


def lanes(planned: Planned, more: str = "") -> dict[str, str]:
    """What a run file says of them."""
    table = (
        f'[lanes]\ncount = {planned.count}\ncover = "{planned.cover}"\nmerge = "{planned.merge}"'
    )
    # Without an evaluation turns would choose the best round, and cannot.
    best = {} if planned.count == 1 or "[evaluate]" in more else {"best": ""}
    return {"bottom": f"{table}\nevery_n_rounds = {planned.every}\n{more}", **best}


def written(write: Write, planned: Planned, more: str = "", **changes: object) -> Path:
    tables = lanes(planned, more)
    settings = {"rounds": planned.rounds, "attempts": 9, **tables, **changes}
    return write(order=SITES, initial="walk:make", **settings)


def check(
    kept: Scripted, run: str, planned: Planned, *, late: Callable[[int, int], bool] | None = None
) -> list[Row]:
    """Wait for the run's end, which has to be that of the plain loop; its ledger's rows."""
    with kept.client() as client:
        for _ in client.follow(run):
            pass
        standing = client.outcome(run)
        client.verify(run)
        rows = [row.model_dump(mode="json") for row in client.rows(run)]
    assert "finished" == standing.status, standing
    ends = plain_lanes(planned, SAMPLES, **({} if late is None else {"late": late}))
    assert digest_of(ends[planned.rounds]) == standing.digest
    wait_until(lambda: not kept.leftovers(), what="no message stays")
    kept.check_spools()
    return rows


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("cover", ["share", "all"])
@pytest.mark.parametrize(("merge", "every"), [("samples", 1), ("equal", 2)])
def test_undisturbed_it_is_the_plain_loop(
    kept: Scripted, write: Write, count: int, cover: str, merge: str, every: int
) -> None:
    planned = replace(ALL, count=count, cover=cover, merge=merge, every=every, rounds=3)
    kept.follow()
    rows = check(kept, kept.submit(written(write, planned)), planned)
    assert not {"LeaseExpired", "TurnFailed"} & {row["event"] for row in rows}


@pytest.mark.parametrize(("moment", "round", "lane"), CONTROLLERS.values(), ids=CONTROLLERS)
def test_a_controller_killed_goes_on_from_its_ledger(
    kept: Scripted, write: Write, moment: Moment, round: int, lane: int
) -> None:
    rule = f"{CONTROLLER} {moment} kill round={round} lane={lane}"
    kept.follow(rule)
    rows = check(kept, kept.submit(written(write, ALL)), ALL)
    assert kept.reached(rule)
    assert not {"LeaseExpired", "TurnFailed", "WeightsLost"} & {row["event"] for row in rows}


def test_lanes_that_go_on_apart_for_a_round_survive_the_controller(
    kept: Scripted, write: Write
) -> None:
    apart = replace(ALL, every=2, rounds=3)
    rules = [f"{CONTROLLER} {Moment.WEIGHTS_COLLECTED} kill round={round}" for round in range(2)]
    kept.follow(*rules)
    check(kept, kept.submit(written(write, apart)), apart)
    assert all(map(kept.reached, rules))


@pytest.mark.parametrize("is_killed", [False, True], ids=["", "and the controller killed"])
def test_a_round_goes_on_without_a_lane_that_is_late(
    kept: Scripted, write: Write, tmp_path: Path, is_killed: bool
) -> None:
    late = written(write, SHARED, "wait_s = 5", params='hold = { site-3 = "go" }', flag=tmp_path)
    run = kept.submit(late)
    with kept.client() as client:
        wait_until(
            lambda: "WaitOver" in [row.event for row in client.rows(run)],
            what="the lane is late",
            within_s=60,
        )
    if is_killed:
        kept.federation[CONTROLLER].signal(SIGKILL)
    (tmp_path / "go").touch()
    rows = check(kept, run, SHARED, late=lambda round, lane: (round, lane) == (0, 2))
    (over,) = [row for row in rows if row["event"] == "WaitOver"]
    assert [("site-3", "late", 2)] == [
        (skip["site"], skip["reason"], skip["lane"]) for skip in over["skipped"]
    ]


def test_a_pause_and_services_that_are_told_to_end_change_no_bit(
    kept: Scripted, write: Write
) -> None:
    """In the middle of a round: sites give their turns back, the controller comes back to lanes."""
    kept.follow()
    planned = replace(ALL, rounds=3)
    run = kept.submit(written(write, planned, pause_s=0.3))
    kept.federation.await_turns(run, 2)
    kept.federation["site-2"].signal(SIGTERM)
    with kept.client() as client:
        client.steer(run, "pause")
    controller = kept.federation[CONTROLLER]
    before = controller.pid
    controller.signal(SIGTERM)
    wait_until(lambda: controller.is_up() and controller.pid != before, what="it is back")
    controller.await_ready()
    kept.federation.await_status(run, "paused")
    kept.federation["site-1"].signal(SIGTERM)
    with kept.client() as client:
        client.steer(run, "resume")
    check(kept, run, planned)


def test_twenty_kills_of_anybody_change_no_bit(kept: Scripted, write: Write) -> None:
    planned = replace(ALL, rounds=4)
    drawn = random.Random(13)
    rules: set[str] = set()
    while len(rules) < KILLS:
        who = drawn.choice([*ANYWHERE, CONTROLLER])
        moment, round = drawn.choice(ANYWHERE[who]), drawn.randrange(1, planned.rounds)
        merges = moment in {Moment.MERGE_BEGUN, Moment.MERGE_WRITTEN, Moment.CHECKPOINT_SAVED}
        lane = 0 if merges else drawn.randrange(planned.count)
        rules.add(f"{who} {moment} kill round={round} lane={lane}")
    kept.follow(*sorted(rules))
    check(kept, kept.submit(written(write, planned)), planned)
    reached = [rule for rule in rules if kept.reached(rule)]
    assert len(reached) >= KILLS * 3 // 4, rules - set(reached)
