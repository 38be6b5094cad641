"""Kill a site, kill the broker, cut a site off: the run finishes as its policy says."""

from __future__ import annotations

import time

from compose.field import Field
from support.waiting import wait_until

CUT_S = 60.0


def a_killed_site_changes_no_bit(field: Field) -> None:
    field.submit_the_usual("killed")
    victim = field.await_holder("killed")
    field.kill(victim)
    field.await_finish("killed")
    assert field.runs.turns_of("killed", victim) == list(range(1, field.rounds + 1))
    field.ended_as_undisturbed("killed")


def a_killed_broker_changes_no_bit(field: Field) -> None:
    field.submit_the_usual("brokerless")
    field.await_holder("brokerless")
    field.kill("rabbitmq")
    field.await_finish("brokerless")
    field.ended_as_undisturbed("brokerless")


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
