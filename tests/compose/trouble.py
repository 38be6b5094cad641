"""Kill a site, kill the broker, cut a site off: the run finishes as its policy says."""

from __future__ import annotations

import time

from compose.field import EPOCHS, ROUNDS, Field
from support.waiting import wait_until

CUT_S = 60.0


def a_killed_site_changes_no_bit(field: Field) -> None:
    field.submit("killed", rounds=ROUNDS, epochs=EPOCHS, on_silent="retry")
    victim = _holder(field, "killed")
    field.kill(victim)
    field.await_finish("killed")
    assert field.runs.turns_of("killed", victim) == list(range(1, ROUNDS + 1))
    _ended_as_undisturbed(field, "killed")


def a_killed_broker_changes_no_bit(field: Field) -> None:
    field.submit("brokerless", rounds=ROUNDS, epochs=EPOCHS, on_silent="retry")
    _holder(field, "brokerless")
    field.kill("rabbitmq")
    field.await_finish("brokerless")
    _ended_as_undisturbed(field, "brokerless")


def a_site_cut_off_for_a_minute_is_passed_over_and_returns(field: Field) -> None:
    run, victim = "cut", "site-2"
    # Rounds enough for a quick machine not to be done within the minute.
    field.submit(run, rounds=40, epochs=60, lease_s=15)
    wait_until(
        lambda: field.runs.holder(run) == victim,
        what=f"{victim} has the weights",
        within_s=90,
        poll_s=0.2,
    )
    cut_at = time.monotonic()
    networks = field.stack.cut(victim)
    field.say(f"{victim} has the weights and is cut from {', '.join(networks)}")
    wait_until(
        lambda: field.runs.standing(run)["skipped"], what="it is skipped", within_s=90, poll_s=0.5
    )
    field.say(f"its turn was skipped {time.monotonic() - cut_at:.0f} s after the cut")
    turns = field.runs.standing(run)["turns"]
    wait_until(
        lambda: time.monotonic() - cut_at >= CUT_S,
        what="the cut has lasted a minute",
        within_s=2 * CUT_S,
        poll_s=1,
    )
    assert field.runs.standing(run)["turns"] > turns, "the run stood still without the site"
    assert field.is_over(run) is None, "the run was over before the site could return"
    before = field.runs.turns_of(run, victim)
    field.stack.join(victim, networks)
    after = wait_until(
        lambda: field.runs.turns_of(run, victim)[len(before) :],
        what=f"{victim} trains again",
        within_s=180,
        poll_s=1,
    )
    field.say(f"{victim} had trained in rounds {before}, was away, and trains again in {after}")
    field.await_finish(run)


def _holder(field: Field, run: str) -> str:
    """Who has the weights, once the run is on its way."""
    wait_until(
        lambda: field.runs.standing(run)["turns"], what=f"{run} moves", within_s=120, poll_s=0.2
    )
    holder = wait_until(
        lambda: field.runs.holder(run), what="somebody has the weights", within_s=60, poll_s=0.2
    )
    assert holder is not None
    field.say(f"{holder} has the weights")
    return holder


def _ended_as_undisturbed(field: Field, run: str) -> None:
    digest = field.runs.standing(run)["digest"]
    assert digest == field.runs.standing("undisturbed")["digest"]
    field.say(f"its weights are those of the undisturbed run, bit for bit: {digest}")
