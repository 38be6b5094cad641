"""Processes that sign, on a real broker: killed or lied to, their runs end with the same bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.broker import Broker
from support.members import Signatory
from support.scripted import ORDER, Scripted, go_on, scripted, write_scripted
from support.waiting import wait_until
from support.wiretap import channel
from tasuki.core.control import Control, FenceRaised, RunEnded
from tasuki.core.model import CONTROLLER
from tasuki.moments import Moment
from tasuki.trust.rosters import write_issued
from tasuki.wire import names
from tasuki.wire.messages import encode

Write = Callable[..., Path]
MIDDLE, LAST = "site-1", "site-3"  # of the order
_names = (f"signed-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Scripted]:
    folder = tmp_path_factory.mktemp("signed")
    with scripted(folder, broker, require=["signed"], is_lied_to=True) as federation:
        yield federation


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return lambda **changes: write_scripted(tmp_path, next(_names), **changes)


def refusals(kept: Scripted, name: str, reason: str) -> float:
    """How many messages a service has refused for this reason, as its page says."""
    lines = kept.federation[name].metrics().splitlines()
    found = [it for it in lines if it.startswith("tasuki_messages_refused_total{")]
    own = [it for it in found if f'service="{name}"' in it and f'reason="{reason}"' in it]
    return sum(float(line.rpartition(" ")[2]) for line in own)


def test_a_signed_run_ends_with_the_bits_of_the_undisturbed_loop(
    kept: Scripted, write: Write
) -> None:
    rows = kept.check(kept.submit(write()))
    assert 6 == [row["event"] for row in rows].count("TurnFinished")


def test_everybody_who_signs_is_killed_and_the_weights_are_the_same(
    kept: Scripted, write: Write
) -> None:
    rules = [
        f"{CONTROLLER} {Moment.TURN_SENT} kill round=0 hop=0",
        f"site-2 {Moment.TURN_JOURNALED} kill round=0 hop=0",
        f"site-2 {Moment.TURN_SENT} kill round=0 hop=1",
        f"{MIDDLE} {Moment.RESULT_JOURNALED} kill round=0 hop=1",
        f"{CONTROLLER} {Moment.REPORT_RECEIVED} kill round=0 hop=1",
        f"{LAST} {Moment.HANDED_OVER} kill round=0 hop=2",
    ]
    kept.follow(*rules)
    rows = kept.check(kept.submit(write()))
    kept.check_spools()
    assert [rule for rule in rules if not kept.reached(rule)] == []
    assert not {"LeaseExpired", "TurnFailed", "SiteForgot"} & {row["event"] for row in rows}


def test_what_the_brokers_administrator_says_in_the_controllers_name_is_refused(
    kept: Scripted, write: Write
) -> None:
    rule = f"{MIDDLE} {Moment.TRAINING} stop round=0 hop=1"
    kept.follow(rule)
    run = kept.submit(write())
    standing = kept.await_stop(rule)
    stranger = Signatory().stranger(CONTROLLER)
    forged: list[Control] = [FenceRaised(run=run, lane=0, term=99), RunEnded(run=run)]
    before = refusals(kept, LAST, "wrong_sender")
    with channel(kept.broker, kept.federation.vhost) as sending:
        route = names.to_control()
        for message in forged:
            for body in (encode(message), stranger.sign(message)):
                sending.basic_publish(route.exchange, route.key, body)
    wait_until(lambda: refusals(kept, LAST, "wrong_sender") >= before + 4, what="all are refused")
    go_on(standing)
    kept.check_bits(run, ORDER)


def test_a_newer_roster_reaches_every_site_from_the_controllers_file_or_by_its_door(
    kept: Scripted,
) -> None:
    lab, folder = kept.federation.signatory, kept.federation.folder
    everybody = (CONTROLLER, *kept.federation.sites)
    write_issued(folder / "roster.pem", lab.roster(everybody, number=2))
    for name in everybody:
        kept.federation.await_log(name, "roster taken .*number=2")
    roster = folder / "next.pem"
    write_issued(roster, lab.roster(everybody, number=3))
    answer = kept.federation.post("/roster", roster.read_bytes())
    assert 3 == answer.raise_for_status().json()["number"]
    for name in kept.federation.sites:
        kept.federation.await_log(name, "roster taken .*number=3")
    refused = kept.federation.post("/roster", (folder / "roster.pem").read_bytes())
    assert (422, "SettingsError") == (refused.status_code, refused.json()["error"])
    assert "roster 2 is not newer than 3" in refused.json()["message"]
