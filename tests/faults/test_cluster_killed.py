"""kill -9 of a broker's node while services stand at the moments of a turn: P1, P2 and P4.

As in `test_broker_killed.py`, on three nodes of which one dies: once the one that leads every queue
and stream, which comes back when all is over, and once another, which comes back at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from enum import StrEnum

import pytest

from support.cluster import Cluster
from support.rabbit import Rabbit
from support.scripted import Scripted, go_on, scripted, seconds_of_turns, write_scripted
from support.standing import CONTROLLERS, ORDERS, TOGETHER, Write, standing, stop_at
from tasuki.core.model import CONTROLLER
from tasuki.moments import Moment

LEASE_S = 30.0
LONGEST_S = LEASE_S + 60
FAILURE = f"lease_s = {LEASE_S}"
SETTINGS = "retry_s = 1\nanswer_s = 5"

pytestmark = pytest.mark.timeout(300)
_turns = itertools.count()


class Victim(StrEnum):
    """The node that dies."""

    LEADER = "the node that leads"
    FOLLOWER = "a node that follows"

    def of(self, cluster: Cluster, vhost: str) -> Rabbit:
        """Which one that is; of two that follow the one that it was not before."""
        leader = cluster.gather(vhost)
        followers = [node for node in cluster.nodes if node is not leader]
        return leader if self is Victim.LEADER else followers[next(_turns) % len(followers)]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Scripted]:
    """After a first run: who leads a stream that has nothing in it cannot be chosen."""
    folder = tmp_path_factory.mktemp("scripted")
    with scripted(folder, cluster, settings=SETTINGS) as federation:
        federation.check(federation.submit(write_scripted(folder, "first")))
        yield federation


@pytest.fixture(autouse=True)
def whole(cluster: Cluster) -> None:
    cluster.mend()


@pytest.mark.parametrize("victim", Victim)
@pytest.mark.parametrize("moments", TOGETHER.values(), ids=TOGETHER)
def test_runs_go_on_after_a_node_killed_under_all_services(
    cluster: Cluster,
    federation: Scripted,
    write: Write,
    moments: Mapping[str, Moment],
    victim: Victim,
) -> None:
    node = victim.of(cluster, federation.federation.vhost)
    with standing(federation, write, moments, failure=FAILURE) as found:
        cluster.kill(node)
        found.go_on()
        if victim is Victim.FOLLOWER:
            cluster.begin(node)
    for rows in found.check().values():
        assert max(seconds_of_turns(rows)) < LONGEST_S
    federation.check_spools()


@pytest.mark.parametrize("victim", Victim)
@pytest.mark.parametrize(("moment", "hop"), CONTROLLERS.values(), ids=CONTROLLERS)
def test_a_run_goes_on_after_a_node_killed_under_the_controller(
    cluster: Cluster, federation: Scripted, write: Write, moment: Moment, hop: int, victim: Victim
) -> None:
    node = victim.of(cluster, federation.federation.vhost)
    file = write(order=ORDERS[CONTROLLER], failure=FAILURE)
    rule = stop_at(CONTROLLER, moment, file.parent.name, hop=hop)
    federation.follow(rule)
    federation.submit(file)
    standing = federation.await_stop(rule)
    cluster.kill(node)
    go_on(standing)
    if victim is Victim.FOLLOWER:
        cluster.begin(node)
    rows = federation.check(file.parent.name, ORDERS[CONTROLLER])
    assert max(seconds_of_turns(rows)) < LONGEST_S


@pytest.mark.parametrize("victim", Victim)
@pytest.mark.parametrize(
    "moment", [Moment.CHUNKS_HALF_SENT, Moment.WEIGHTS_CONFIRMED, Moment.CONFIRMED]
)
def test_the_last_hand_over_of_a_round_survives_a_killed_node(
    cluster: Cluster, federation: Scripted, write: Write, moment: Moment, victim: Victim
) -> None:
    node = victim.of(cluster, federation.federation.vhost)
    file, last = write(order=ORDERS["site-1"], failure=FAILURE), "site-3"
    rule = f"{last} {moment} stop run={file.parent.name} round=0"
    federation.follow(rule)
    federation.submit(file)
    standing = federation.await_stop(rule)
    cluster.kill(node)
    go_on(standing)
    if victim is Victim.FOLLOWER:
        cluster.begin(node)
    rows = federation.check(file.parent.name, ORDERS["site-1"])
    assert max(seconds_of_turns(rows)) < LONGEST_S
