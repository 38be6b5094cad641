"""Queues that a member has filled: what is refused waits with its sender, and nothing is lost: P2.

The member does it with its own user, as anybody could who has stolen that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import Signals

import pika
import pytest
from pika import exceptions as pika_errors
from pika.adapters.blocking_connection import BlockingChannel

from support.broker import Broker
from support.federation import NO_TORCH, SITES, Federation
from support.hostile import EVIL
from support.members import EVERYTHING
from support.numbers import shown
from support.plain import plain_loop
from support.simulation import write_run
from support.waiting import wait_until
from support.wiretap import channel
from tasuki.broker.topology import Length, Sizes, definitions, topology
from tasuki.core.model import CONTROLLER
from tasuki.ports import Route
from tasuki.wire import names

FEW = 20
BOUND = Length(messages=FEW, size=2**20)
VICTIM, OTHER, THIRD = SITES
LEASE_S = 80.0
WAITS = f"waits for the broker .*it is full.*{names.TURNS} for '{VICTIM}'"
RUBBISH = b"no message of ours"
NACKED = "tasuki_broker_nacked_messages_total"


@pytest.fixture
def federation(tmp_path: Path, broker: Broker, vhost: str) -> Iterator[Federation]:
    write_run(tmp_path)
    path = os.pathsep.join([str(NO_TORCH), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
        with Federation(tmp_path, broker, vhost, require=EVERYTHING) as federation:
            make_small(federation)
            yield federation


def make_small(federation: Federation) -> None:
    """As an operator does to queues that there are: by policies, which hold at once."""
    sizes = Sizes(turns=BOUND, reports=BOUND, dead=BOUND)
    made = definitions(topology(SITES, sizes=sizes), vhost=federation.vhost)
    of_policies = {"policies": made["policies"]}
    federation.broker.management.load_definitions(federation.vhost, of_policies)


@contextmanager
def member(federation: Federation) -> Iterator[BlockingChannel]:
    """A channel of somebody who may do all that a site may."""
    broker, vhost = federation.broker, federation.vhost
    (allowed,) = (a for a in topology([EVIL]).permissions if a.user == EVIL)
    patterns = {"configure": allowed.configure, "write": allowed.write, "read": allowed.read}
    broker.add_user(EVIL, "evil", vhost=vhost, **patterns)
    with pika.BlockingConnection(pika.URLParameters(broker.url(EVIL, vhost))) as connection:
        sending = connection.channel()
        sending.confirm_delivery()
        yield sending


def is_taken(sending: BlockingChannel, route: Route, body: bytes = RUBBISH) -> bool:
    properties = pika.BasicProperties(user_id=EVIL, delivery_mode=2)
    try:
        sending.basic_publish(route.exchange, route.key, body, properties, mandatory=True)
    except pika_errors.NackError:
        return False
    return True


def fill(sending: BlockingChannel, route: Route) -> int:
    """Send until the broker takes no more; how many it took."""
    return next(count for count in range(10 * FEW) if not is_taken(sending, route))


def press(sending: BlockingChannel, route: Route, body: bytes) -> None:
    """Send until the broker takes it."""
    wait_until(lambda: is_taken(sending, route, body), what="it is taken")


def a_run(folder: Path, name: str, order: Sequence[str], **changes: object) -> Path:
    settings = {"rounds": 2, "min_sites": 2, "attempts": 1, **changes}
    failure = f"lease_s = {LEASE_S}"
    path = write_run(folder, order=json.dumps(order), failure=failure, **settings)
    path.write_text(path.read_text().replace('name = "walk"', f'name = "{name}"'))
    return path


def number(federation: Federation, name: str, series: str) -> float:
    return shown(federation[name].metrics()).get(series, 0.0)


def waiting(federation: Federation, queue: str) -> int:
    with channel(federation.broker, federation.vhost) as asking:
        return int(asking.queue_declare(queue, passive=True).method.message_count)


@pytest.mark.timeout(240)
def test_a_turn_waits_until_a_full_queue_was_read_and_other_runs_do_not(
    federation: Federation, tmp_path: Path
) -> None:
    federation[VICTIM].end(Signals.SIGTERM)
    with member(federation) as sending:
        taken = fill(sending, names.to_turns(VICTIM))
    assert FEW <= taken <= 2 * FEW

    first, then, without = [VICTIM, OTHER, THIRD], [OTHER, VICTIM, THIRD], [OTHER, THIRD]
    from_controller = federation.begin(a_run(tmp_path, "first", first))
    federation.await_log(CONTROLLER, WAITS)
    passing = federation.submit(a_run(tmp_path, "without", without))
    assert (0, plain_loop([without] * 2)) == (passing.code, passing.last["digest"])
    from_site = federation.begin(a_run(tmp_path, "then", then))
    federation.await_log(OTHER, WAITS)
    for name in (CONTROLLER, OTHER):
        assert number(federation, name, f'{NACKED}{{service="{name}"}}') > 0
    federation.await_reason("first", f"{VICTIM} is being sent the turn: .* s; its queue refuses it")

    federation[VICTIM].start()
    assert from_controller.finished()["digest"] == plain_loop([first] * 2)
    assert from_site.finished()["digest"] == plain_loop([then] * 2)
    refused = f'queue_kind="turns",reason="undecodable",service="{VICTIM}"'
    assert number(federation, VICTIM, f"tasuki_messages_refused_total{{{refused}}}") == taken
    assert federation.has_logged(CONTROLLER, f"need not wait any more.*{VICTIM}")
    assert federation.has_logged(VICTIM, f"message refused .*sender={EVIL}")


@pytest.mark.timeout(240)
def test_a_round_completes_while_nobody_reads_the_reports_and_results_wait_at_their_sites(
    federation: Federation, tmp_path: Path
) -> None:
    """P3 too: the relay needs no room among the reports."""
    order = [VICTIM, OTHER, THIRD]
    going = federation.begin(a_run(tmp_path, "going", order, pause_s=1))
    federation.await_log(VICTIM, "turn taken")
    federation[CONTROLLER].kill()
    with member(federation) as sending:
        fill(sending, names.to_controller())
        federation.await_log(THIRD, f"handed over.*to={CONTROLLER}")
        fill(sending, names.to_controller())
    held = [site for site in SITES if number(federation, site, f'{NACKED}{{service="{site}"}}')]
    assert THIRD in held
    # Also if their sites are killed meanwhile: what nobody has heard is said again.
    federation[THIRD].kill()
    federation[THIRD].start()

    federation[CONTROLLER].start()
    federation[CONTROLLER].await_ready()
    assert waited(federation, "going") == plain_loop([order] * 2)
    going.ended()  # its controller went away, and so perhaps did it
    wait_until(lambda: waiting(federation, names.REPORTS) == 0, what="no report waits")


def waited(federation: Federation, run: str) -> str:
    """The digest that a run ends with."""
    return str(federation.watch(run, "--json").finished()["digest"])


@pytest.mark.timeout(120)
def test_of_too_many_dead_letters_the_newest_are_kept_and_all_are_counted(
    federation: Federation, tmp_path: Path
) -> None:
    sent = 3 * FEW
    refused = f'queue_kind="turns",reason="undecodable",service="{VICTIM}"'

    def all_are_refused() -> bool:
        series = f"tasuki_messages_refused_total{{{refused}}}"
        return number(federation, VICTIM, series) == sent

    with member(federation) as sending:
        for count in range(sent):
            press(sending, names.to_turns(VICTIM), f"{count}".encode())
    wait_until(all_are_refused, what="all are refused", within_s=30)
    wait_until(
        lambda: number(federation, CONTROLLER, "tasuki_dead_letters") == FEW,
        what="the controller has counted them",
        within_s=30,
    )

    with channel(federation.broker, federation.vhost) as reading:
        bodies = [reading.basic_get(names.DEAD, auto_ack=True)[2] for _ in range(FEW)]
        assert reading.basic_get(names.DEAD)[0] is None
    assert [f"{count}".encode() for count in range(sent - FEW, sent)] == bodies

    order = [VICTIM, OTHER, THIRD]
    done = federation.submit(a_run(tmp_path, "after", order))
    assert (0, plain_loop([order] * 2)) == (done.code, done.last["digest"])
