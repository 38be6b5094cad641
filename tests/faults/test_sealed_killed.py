"""kill -9 while sealed weights are on their way: what is sent again continues what had come."""

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
    "a receiver that has them all": f"{MIDDLE} {Moment.WEIGHTS_COMPLETE} kill round=0 hop=1",
    "a sender in the middle": f"{MIDDLE} {Moment.CHUNKS_HALF_SENT} kill round=0 hop=2",
    "a sender before its turn": f"{MIDDLE} {Moment.WEIGHTS_CONFIRMED} kill round=0 hop=2",
    "who sends a round's end": f"{LAST} {Moment.CHUNKS_HALF_SENT} kill round=0 hop=3",
    "a controller that sends": f"{CONTROLLER} {Moment.CHUNKS_HALF_SENT} kill round=1 hop=0",
    "a controller that has a round's end": f"{CONTROLLER} {Moment.WEIGHTS_COLLECTED} kill round=0",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Scripted]:
    """Everybody has keys, and takes nothing that is not sealed."""
    folder = tmp_path_factory.mktemp("sealed")
    with scripted(folder, broker, require=("signed", "sealed")) as federation:
        yield federation


@pytest.mark.parametrize("rule", KILLED.values(), ids=KILLED)
def test_who_is_killed_goes_on_with_sealed_weights(
    kept: Scripted, write: Callable[..., Path], rule: str
) -> None:
    """The weights are those of a run without seals in which nobody was killed."""
    kept.follow(rule)
    rows = kept.check(kept.submit(write()))
    kept.check_spools()
    assert kept.reached(rule)
    assert not {"LeaseExpired", "TurnFailed", "WeightsLost"} & {row["event"] for row in rows}
    assert refused_seals(kept) == []


def refused_seals(kept: Scripted) -> list[str]:
    """Nothing was altered, so that none is."""
    pages = [kept.federation[name].metrics() for name in (CONTROLLER, MIDDLE, LAST)]
    lines = (line for page in pages for line in page.splitlines())
    refused = (line for line in lines if line.startswith("tasuki_messages_refused_total"))
    return [line for line in refused if "seal" in line and not line.endswith(" 0.0")]
