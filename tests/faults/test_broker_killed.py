"""kill -9 of the broker while services stand at the moments of a turn: P1, P2 and P4.

Starting a broker again takes seconds, so each of these kills it under several services at once,
each of which stands at a moment of a run of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from support.broker import Broker
from support.scripted import Scripted, go_on, scripted
from support.waiting import wait_until
from tasuki.core.model import CONTROLLER
from tasuki.moments import Moment

Write = Callable[..., Path]
ORDERS: Mapping[str, tuple[str, ...]] = {
    "site-1": ("site-1", "site-2", "site-3"),
    "site-2": ("site-2", "site-3", "site-1"),
    "site-3": ("site-3", "site-1", "site-2"),
    CONTROLLER: ("site-1", "site-2"),
}
ONWARD = {Moment.TURN_SENT, Moment.CHUNKS_HALF_SENT, Moment.WEIGHTS_CONFIRMED}
"""Told of with the turn that is sent, which at a site is the next one."""

SITES = {
    "before the journal": {
        "site-1": Moment.TURN_RECEIVED,
        "site-2": Moment.TURN_JOURNALED,
        "site-3": Moment.CHUNKS_HALF_RECEIVED,
        CONTROLLER: Moment.LEDGER_APPENDED,
    },
    "while they train": {
        "site-1": Moment.TRAINING,
        "site-2": Moment.PROGRESSED,
        "site-3": Moment.TRAINED,
        CONTROLLER: Moment.CHUNKS_HALF_SENT,
    },
    "while they send weights": {
        "site-1": Moment.RESULT_JOURNALED,
        "site-2": Moment.CHUNKS_HALF_SENT,
        "site-3": Moment.WEIGHTS_CONFIRMED,
        CONTROLLER: Moment.WEIGHTS_CONFIRMED,
    },
    "while they send turns": {
        "site-1": Moment.TURN_SENT,
        "site-2": Moment.CONFIRMED,
        "site-3": Moment.HANDED_OVER,
        CONTROLLER: Moment.TURN_SENT,
    },
    "when the controller has sent a turn": {
        "site-1": Moment.WEIGHTS_COMPLETE,
        CONTROLLER: Moment.CONFIRMED,
    },
}
CONTROLLERS = {
    "before a report is on record": (Moment.REPORT_RECEIVED, 0),
    "when a report is on record and not acknowledged": (Moment.LEDGER_APPENDED, 1),
    "when the round's weights have come": (Moment.WEIGHTS_COLLECTED, 2),
}


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory, rabbitmq_is_here: None) -> Iterator[Scripted]:
    """On a broker of its own."""
    with Broker() as broker:
        broker.start()
        with scripted(
            tmp_path_factory.mktemp("scripted"), broker, settings="retry_s = 1"
        ) as federation:
            yield federation


def stop_at(actor: str, moment: Moment, run: str, *, hop: int = 0) -> str:
    if moment is Moment.CHUNKS_HALF_RECEIVED:
        return f"{actor} {moment} stop"  # whose they are is not known yet
    if moment in ONWARD and actor != CONTROLLER:
        hop += 1
    return f"{actor} {moment} stop run={run} round=0 hop={hop}"


def kill_broker(mortal: Scripted, *standing: int) -> None:
    mortal.broker.kill()
    for pid in standing:
        go_on(pid)
    mortal.broker.restart()


@pytest.mark.parametrize("moments", SITES.values(), ids=SITES)
def test_runs_go_on_after_a_broker_killed_under_all_services(
    mortal: Scripted, write: Write, moments: Mapping[str, Moment]
) -> None:
    files = {actor: write(order=ORDERS[actor]) for actor in moments}
    rules = {
        actor: stop_at(actor, moment, files[actor].parent.name) for actor, moment in moments.items()
    }
    mortal.follow(*rules.values())
    standing = []
    for site in [actor for actor in moments if actor != CONTROLLER]:
        mortal.submit(files[site])
        standing.append(mortal.await_stop(rules[site]))
    submitting = threading.Thread(target=mortal.submit, args=[files[CONTROLLER]])
    submitting.start()  # its answer may have to wait until the controller goes on
    standing.append(mortal.await_stop(rules[CONTROLLER]))
    kill_broker(mortal, *standing)
    submitting.join()
    for actor, file in files.items():
        mortal.check(file.parent.name, ORDERS[actor])
    mortal.check_spools()


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
    mortal.broker.kill()
    killed = time.monotonic()
    go_on(standing)
    wait_until(lambda: time.monotonic() - killed > 1.5 * lease_s, what="leases run out")
    mortal.broker.restart()
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
    mortal.broker.ctl("set_vm_memory_high_watermark", "0.0001")
    short = time.monotonic()
    try:
        go_on(standing)
        with mortal.client() as client:
            wait_until(
                lambda: said in client.standing(run)["reason"], what=said, within_s=60, poll_s=0.2
            )
        assert time.monotonic() - short < lease_s, "before a lease is over"
        over = short + 2.5 * lease_s
        wait_until(lambda: time.monotonic() > over, what="leases run out", within_s=60)
    finally:
        mortal.broker.ctl("set_vm_memory_high_watermark", "0.4")
    rows = mortal.check(run, ORDERS["site-1"])
    assert "LeaseExpired" not in {row["event"] for row in rows}
    watched = watching.ended().out
    assert said in watched
    assert f"{run} goes on" in watched
