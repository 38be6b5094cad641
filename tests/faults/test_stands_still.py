"""A queue that takes messages and confirms none: what stands still is told and dealt with: P2, P8.

Everybody lives and everybody's connection is up; the one thing that is missing is a confirmation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.broker import Broker
from support.plain import plain_loop
from support.scripted import ORDER, Row, Scripted
from support.waiting import wait_until
from tasuki.errors import RunFailed
from tasuki.wire import names

LEASE_S = 5.0
FIRST, NEXT, LAST = ORDER
STANDS = f"{FIRST} has handed nothing on to {NEXT} for {LEASE_S:g} s"
QUEUES = {"turns": names.turns_queue(NEXT), "weights": names.weights_stream(NEXT)}

Write = Callable[..., Path]


def policy(on_silent: str) -> str:
    return f'lease_s = {LEASE_S}\non_silent = "{on_silent}"'


@contextmanager
def standing(kept: Scripted, queue: str) -> Iterator[Callable[[], None]]:
    """While a queue confirms nothing; gives what lets it go on before that is over."""
    broker, vhost = kept.broker, kept.federation.vhost
    assert isinstance(broker, Broker)

    def go_on() -> None:
        broker.go_on(vhost, queue)

    broker.stand_still(vhost, queue)
    try:
        yield go_on
    finally:
        go_on()  # harmless twice


def asked(kept: Scripted, run: str) -> dict[str, Any]:  # Any: JSON
    with kept.client() as client:
        return client.standing(run).model_dump(mode="json")


def expired(kept: Scripted, run: str) -> list[Row]:
    with kept.client() as client:
        rows = client.rows(run)
        return [row.model_dump(mode="json") for row in rows if row.event == "LeaseExpired"]


def ended(kept: Scripted, run: str) -> dict[str, Any]:  # Any: JSON
    """Where a run stands once it is over."""
    with kept.client() as client:
        for _ in client.follow(run):
            pass
        return client.outcome(run).model_dump(mode="json")


def keeps_nothing(kept: Scripted) -> None:
    """The site that could not hand over lets go of its result, be the queue as it is."""
    spool = kept.federation.folder / f"data-{FIRST}/spool"
    wait_until(lambda: not list(spool.glob("*.safetensors")), what=f"{FIRST} keeps nothing")


@pytest.mark.parametrize("queue", QUEUES.values(), ids=QUEUES)
def test_a_hand_over_that_is_not_confirmed_is_told_of_and_ends_a_run_that_is_to_fail(
    kept: Scripted, write: Write, queue: str
) -> None:
    """Bug: it stood for ever, since the beats of its site renewed the lease all the while."""
    with standing(kept, queue):
        run = kept.submit(write(failure=policy("fail")))
        watching = kept.federation.watch(run)
        wait_until(
            lambda: f"{FIRST} hands over: it has stood still" in asked(kept, run)["reason"],
            what="it is told before its lease is over",
            poll_s=0.2,
        )
        assert "relaying" == asked(kept, run)["status"]
        last = ended(kept, run)
        assert ("failed", STANDS) == (last["status"], last["reason"])
        (lease,) = expired(kept, run)
        assert [f"failed: {STANDS}"] == lease["led_to"]
        watched = watching.ended()
        assert RunFailed.exit_code == watched.code
        assert f"{run} {FIRST} hands over: it has stood still" in watched.out
        kept.federation.await_log(FIRST, f"dropped .*fenced.*{run}/0")
        keeps_nothing(kept)
    kept.check(kept.submit(write()))  # and has room for another
    kept.check_spools()  # not even what had been sent stays where it came to


def test_a_hand_over_that_is_not_confirmed_is_done_again_by_a_run_that_retries(
    kept: Scripted, write: Write
) -> None:
    with standing(kept, QUEUES["turns"]) as go_on:
        run = kept.submit(write(failure=policy("retry"), attempts=20))
        kept.federation.await_row(run, f"issued to {FIRST}, term 2, attempt 2")
        go_on()
        kept.check(run)
    kept.check_spools()
    told = [lease["what"] for lease in expired(kept, run)]
    assert f"{FIRST} hands over, and stood still for too long" in told[0]


def test_a_queue_that_confirms_nothing_has_its_site_skipped_by_a_run_that_skips(
    kept: Scripted, write: Write
) -> None:
    """The one before it first, which cannot hand over; then the controller cannot either."""
    with standing(kept, QUEUES["turns"]):
        run = kept.submit(write(failure=policy("skip"), min_sites=1, rounds=1))
        last = ended(kept, run)
        assert "finished" == last["status"]
        assert [(FIRST, "stood_still"), (NEXT, "stood_still")] == [
            (skip["site"], skip["reason"]) for skip in last["skips"]
        ]
        assert last["digest"] == plain_loop([[None, None, LAST]], make="make_large")
        keeps_nothing(kept)
    kept.check_spools()


def test_a_run_that_waits_goes_on_once_its_hand_over_is_confirmed(
    kept: Scripted, write: Write
) -> None:
    with standing(kept, QUEUES["turns"]) as go_on:
        run = kept.submit(write(failure=policy("wait")))
        watching = kept.federation.watch(run)
        kept.federation.await_reason(run, f"waiting: {STANDS}")
        since = time.monotonic()
        wait_until(lambda: time.monotonic() - since > 1.5 * LEASE_S, what="its site says more")
        assert f"waiting: {STANDS}" == asked(kept, run)["reason"]
        go_on()
        rows = kept.check(run)
    assert {1, 2} == {row["turn"]["term"] for row in rows if row["turn"]}, "one a round"
    assert 1 == len(expired(kept, run))
    watched = watching.ended().out
    assert 1 == watched.count(f"waiting: {STANDS}")
    assert f"{run} goes on" in watched
