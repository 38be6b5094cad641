"""kill -9 in a federation without keys, whose weights and messages travel as they are.

All others of this suite sign and seal, as `test_killed.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.broker import Broker
from support.scripted import Scripted, scripted
from tasuki.core.model import CONTROLLER
from tasuki.moments import Moment

MIDDLE, LAST = "site-1", "site-3"  # of the order

KILLED = {
    "a receiver that has half of the weights": f"{MIDDLE} {Moment.CHUNKS_HALF_RECEIVED} kill",
    "a sender before its turn": f"{MIDDLE} {Moment.WEIGHTS_CONFIRMED} kill round=0 hop=2",
    "who sends a round's end": f"{LAST} {Moment.CHUNKS_HALF_SENT} kill round=0 hop=3",
    "a controller that sends": f"{CONTROLLER} {Moment.CHUNKS_HALF_SENT} kill round=1 hop=0",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Scripted]:
    with scripted(tmp_path_factory.mktemp("plain"), broker, require=()) as federation:
        yield federation


@pytest.mark.parametrize("rule", KILLED.values(), ids=KILLED)
def test_who_is_killed_in_a_federation_without_keys_goes_on(
    plain: Scripted, write: Callable[..., Path], rule: str
) -> None:
    plain.follow(rule)
    rows = plain.check(plain.submit(write()))
    plain.check_spools()
    assert plain.reached(rule)
    assert not {"LeaseExpired", "TurnFailed", "WeightsLost"} & {row["event"] for row in rows}
