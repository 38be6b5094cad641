"""kill -9 of the broker while services stand at the moments of a turn: P1, P2 and P4."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.broker import Broker
from support.scripted import Scripted, go_on, scripted
from support.standing import CONTROLLERS, ORDERS, TOGETHER, Write, standing, stop_at
from support.waiting import wait_until
from tasuki.core.model import CONTROLLER
from tasuki.moments import Moment

SETTINGS = "retry_s = 1"


@pytest.fixture(scope="module")
def own(rabbitmq_is_here: None) -> Iterator[Broker]:
    """A broker of this module's own."""
    with Broker() as broker:
        broker.start()
        yield broker


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory, own: Broker) -> Iterator[Scripted]:
    with scripted(tmp_path_factory.mktemp("scripted"), own, settings=SETTINGS) as federation:
        yield federation


@pytest.fixture
def plain(tmp_path: Path, own: Broker) -> Iterator[Scripted]:
    """A federation without keys."""
    folder = tmp_path / "plain"
    folder.mkdir()
    with scripted(folder, own, settings=SETTINGS, require=()) as federation:
        yield federation


def broker_of(mortal: Scripted) -> Broker:
    assert isinstance(mortal.broker, Broker)
    return mortal.broker


def kill_broker(mortal: Scripted, *standing: int) -> None:
    broker_of(mortal).kill()
    for pid in standing:
        go_on(pid)
    broker_of(mortal).restart()


@pytest.mark.parametrize("moments", TOGETHER.values(), ids=TOGETHER)
def test_runs_go_on_after_a_broker_killed_under_all_services(
    mortal: Scripted, write: Write, moments: Mapping[str, Moment]
) -> None:
    with standing(mortal, write, moments) as found:
        kill_broker(mortal, *found.pids)
    found.check()
    mortal.check_spools()


def test_runs_of_a_federation_without_keys_go_on_after_a_killed_broker(
    plain: Scripted, write: Write
) -> None:
    with standing(plain, write, TOGETHER["while they send weights"]) as found:
        kill_broker(plain, *found.pids)
    found.check()
    plain.check_spools()


@pytest.mark.parametrize(("moment", "hop"), CONTROLLERS.values(), ids=CONTROLLERS)
def test_a_run_goes_on_after_a_broker_killed_under_the_controller(
    mortal: Scripted, write: Write, moment: Moment, hop: int
) -> None:
    file = write(order=ORDERS[CONTROLLER])
    rule = stop_at(CONTROLLER, moment, file.parent.name, hop=hop)
    mortal.follow(rule)
    mortal.submit(file)
    kill_broker(mortal, mortal.await_stop(rule))
    mortal.check(file.parent.name, ORDERS[CONTROLLER])


def test_the_last_hand_over_of_a_round_survives_a_killed_broker(
    mortal: Scripted, write: Write
) -> None:
    file, last = write(order=ORDERS["site-1"]), "site-3"
    rules = [
        f"{last} {Moment.CHUNKS_HALF_SENT} stop run={file.parent.name} round=0",
        f"{CONTROLLER} {Moment.CHECKPOINT_SAVED} stop run={file.parent.name} round=1",
    ]
    mortal.follow(*rules)
    mortal.submit(file)
    for rule in rules:
        kill_broker(mortal, mortal.await_stop(rule))
    mortal.check(file.parent.name, ORDERS["site-1"])


def test_a_broker_that_is_away_for_longer_than_a_lease_makes_nobody_silent(
    mortal: Scripted, write: Write
) -> None:
    """Bug: the controller heard nobody, and took that for everybody's silence."""
    lease_s = 10.0
    file = write(order=ORDERS["site-1"], failure=f'lease_s = {lease_s}\non_silent = "fail"')
    rule = stop_at("site-2", Moment.TRAINING, file.parent.name, hop=1)
    mortal.follow(rule)
    mortal.submit(file)
    standing = mortal.await_stop(rule)
    broker_of(mortal).kill()
    killed = time.monotonic()
    go_on(standing)
    wait_until(lambda: time.monotonic() - killed > 1.5 * lease_s, what="leases run out")
    broker_of(mortal).restart()
    mortal.check(file.parent.name, ORDERS["site-1"])


def test_a_broker_that_takes_nothing_for_longer_than_a_lease_makes_nobody_silent(
    mortal: Scripted, write: Write
) -> None:
    """Bug: it tells only who publishes that it is short of memory, and the controller did not.

    The run says so, and whoever watches it; nobody is called silent.
    """
    lease_s = 10.0
    file = write(order=ORDERS["site-1"], failure=f'lease_s = {lease_s}\non_silent = "fail"')
    run, said = file.parent.name, "the broker takes nothing: low on memory"
    rule = stop_at("site-2", Moment.TRAINING, run, hop=1)
    mortal.follow(rule)
    mortal.submit(file)
    standing = mortal.await_stop(rule)
    watching = mortal.federation.watch(run)
    broker_of(mortal).ctl("set_vm_memory_high_watermark", "0.0001")
    short = time.monotonic()
    try:
        go_on(standing)
        with mortal.client() as client:
            wait_until(
                lambda: said in client.standing(run).reason, what=said, within_s=60, poll_s=0.2
            )
        assert time.monotonic() - short < lease_s, "before a lease is over"
        over = short + 2.5 * lease_s
        wait_until(lambda: time.monotonic() > over, what="leases run out", within_s=60)
    finally:
        broker_of(mortal).ctl("set_vm_memory_high_watermark", "0.4")
    rows = mortal.check(run, ORDERS["site-1"])
    assert "LeaseExpired" not in {row["event"] for row in rows}
    watched = watching.ended().out
    assert said in watched
    assert f"{run} goes on" in watched
