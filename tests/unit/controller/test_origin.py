"""A run's rows prove from which weights of which other run it began."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from support.runs import FIRST, Relay, plan, weights
from tasuki.core.model import Origin, WeightsRef
from tasuki.core.run import RunSubmitted
from tasuki.errors import LedgerBroken
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.wire.messages import encode
from tasuki_controller import history


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    """With a run of one round, in which all went well."""
    relay = Relay(plan(rounds=1))
    relay.finish_round()
    with closing(SqliteLedger(tmp_path / "ledger.sqlite")) as ledger:
        for event in (relay.plan, FIRST, *relay.history):
            ledger.append("r", encode(event), at=1.0)
        yield ledger


def begin(ledger: SqliteLedger, origin: Origin, first: WeightsRef) -> None:
    """Another run, and whether its origin holds."""
    of = replace(plan(), run="other", origin=origin)
    for event in (of, first, RunSubmitted()):
        ledger.append("other", encode(event), at=2.0)
    history.check_origin(list(history.steps(ledger.verify("other"))), ledger)


def ended(ledger: SqliteLedger) -> WeightsRef:
    state = history.replay(ledger.rows("r"))
    assert state is not None
    return state.weights


def test_a_run_that_began_where_another_ended_holds(ledger: SqliteLedger) -> None:
    last = ended(ledger)
    begin(ledger, Origin(run="r", round=1, digest=last.digest), last)


def test_a_run_that_began_with_what_another_began_with_holds(ledger: SqliteLedger) -> None:
    begin(ledger, Origin(run="r", round=0, digest=FIRST.digest), FIRST)


@pytest.mark.parametrize(("run", "round"), [("r", 0), ("r", 2), ("gone", 1)])
def test_a_run_that_names_what_never_was_is_found(
    ledger: SqliteLedger, run: str, round: int
) -> None:
    last = ended(ledger)
    with pytest.raises(LedgerBroken, match=f"round {round} of {run} did not end with"):
        begin(ledger, Origin(run=run, round=round, digest=last.digest), last)


def test_a_run_that_began_with_other_weights_than_it_says_is_found(ledger: SqliteLedger) -> None:
    origin = Origin(run="r", round=1, digest=ended(ledger).digest)
    with pytest.raises(LedgerBroken, match="weights that other began from"):
        begin(ledger, origin, weights("junk"))


def test_a_run_that_began_from_no_other_needs_none(ledger: SqliteLedger) -> None:
    history.check_origin(list(history.steps(ledger.verify("r"))), ledger)
