"""Runs in which several models circulate at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from support.runs import Relay, plan, sent, weights
from tasuki.core import run
from tasuki.core.model import Cover, LanesPolicy, OnSilent, Plan, TurnRecord

FOUR = ("a", "b", "c", "d")


def several(
    count: int = 2,
    *,
    sites: tuple[str, ...] = FOUR,
    rounds: int = 2,
    every_n_rounds: int = 1,
    wait_s: float | None = None,
    cover: Cover = Cover.SHARE,
    on_silent: OnSilent = OnSilent.SKIP,
) -> Plan:
    lanes = LanesPolicy(count=count, cover=cover, every_n_rounds=every_n_rounds, wait_s=wait_s)
    of = plan(sites=sites, rounds=rounds, min_sites=1, on_silent=on_silent)
    return replace(of, lanes=lanes)


def record_of(
    relay: Relay, lane: int, metrics: Mapping[str, float] = MappingProxyType({"accuracy": 0.5})
) -> TurnRecord:
    """What the holder of a lane would report if all goes well."""
    its = relay.state.lanes[lane].relay
    site = its.holder
    assert site is not None
    return TurnRecord(
        id=its.expected,
        site=site,
        received=its.weights.digest,
        sent=sent(its.expected),
        metrics=dict(metrics),
        samples=10,
        seconds=1.5,
    )


def finish_turn(relay: Relay, lane: int) -> TurnRecord:
    record = record_of(relay, lane)
    relay(run.TurnFinished(record=record))
    return record


def finish_lane(relay: Relay, lane: int) -> None:
    """Its turns of this round, and its weights are there."""
    while relay.state.lanes[lane].relay.holder is not None:
        finish_turn(relay, lane)
    relay(run.WeightsArrived(weights=relay.state.lanes[lane].relay.weights, lane=lane))


def merge(relay: Relay) -> None:
    done = relay.state.done
    relay(run.WeightsMerged(done=done, weights=weights(f"merged {done}")))


def finish_round(relay: Relay) -> None:
    """Every lane, one after the other, and the merge if there is one."""
    for lane in range(len(relay.state.lanes)):
        finish_lane(relay, lane)
    if relay.state.status is run.Status.MERGING:
        merge(relay)
