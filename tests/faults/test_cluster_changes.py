"""Nodes of the broker that are upgraded, lost for good, replaced or cut off, while runs go on."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.rabbit import ADMIN, HOST
from support.scripted import Scripted, scripted, seconds_of_turns, write_scripted
from support.standing import ORDERS, Write
from support.waiting import wait_until
from tasuki.broker.topology import definitions, topology
from tasuki_cli.provision.management import Management
from tasuki_cli.provision.placement import Placement, place

ORDER = ORDERS["site-1"]
LEASE_S = 60.0
UNEASY = {"LeaseExpired", "TurnFailed", "WeightsLost", "SiteForgot"}
"""What is on record of a run that noticed something."""
CUT_OFF_S = 60.0
SETTINGS = "retry_s = 1\nanswer_s = 5"
QUICK = {"pause_s": 1, "failure": 'on_silent = "fail"'}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def whole(cluster: Cluster) -> None:
    cluster.mend()


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Scripted]:
    yield from _federation(tmp_path_factory.mktemp("scripted"), cluster, cluster.hosts)


@pytest.fixture(scope="module")
def fronted(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Scripted]:
    """Whose services lose a node when that is cut off."""
    yield from _federation(tmp_path_factory.mktemp("fronted"), cluster, cluster.fronts)


def _federation(folder: Path, cluster: Cluster, hosts: Sequence[str]) -> Iterator[Scripted]:
    """After a first run: who leads a stream that has nothing in it cannot be chosen."""
    cluster.mend()
    with scripted(folder, cluster, settings=SETTINGS, hosts=hosts) as federation:
        federation.check(federation.submit(write_scripted(folder, "first")))
        yield federation


def begun(federation: Scripted, file: Path) -> str:
    """A run in its middle."""
    run = federation.submit(file)
    federation.federation.await_turns(run, 1)
    return run


def check_at_ease(federation: Scripted, run: str) -> None:
    """It has ended as it should, and has noticed nothing."""
    rows = federation.check(run, ORDER)
    assert not UNEASY & {row["event"] for row in rows}
    assert max(seconds_of_turns(rows)) < LEASE_S


def trained(file: Path) -> Counter[tuple[int, int]]:
    """How often each turn of a run was begun."""
    stamps = map(json.loads, (file.parent / "stamps").read_text().splitlines())
    return Counter((it["round"], it["hop"]) for it in stamps if it["what"] == "start")


def test_a_rolling_restart_of_all_nodes_costs_no_turn(
    cluster: Cluster, federation: Scripted, write: Write
) -> None:
    for node in list(cluster.nodes):
        file = write(order=ORDER, params="stamps = true", **QUICK)
        run = begun(federation, file)
        cluster.terminate(node)
        cluster.restart(node)
        check_at_ease(federation, run)
        assert set(trained(file).values()) == {1}


def test_a_node_lost_for_good_is_replaced_and_no_run_notices(
    cluster: Cluster, federation: Scripted, write: Write
) -> None:
    vhost = federation.federation.vhost
    lost = cluster.gather(vhost)
    run = begun(federation, write(order=ORDER, **QUICK))
    cluster.lose(lost)
    check_at_ease(federation, run)
    run = begun(federation, write(order=ORDER, **QUICK))
    cluster.forget(lost)
    cluster.join(port=lost.port)
    for each in cluster.standing:  # the other federation of this page may be there too
        assert provisioned(cluster, each).missing == []
    cluster.await_whole()
    check_at_ease(federation, run)
    check_at_ease(federation, federation.submit(write(order=ORDER, **QUICK)))


def provisioned(cluster: Cluster, vhost: str) -> Placement:
    """As by `tasuki provision --apply --ctl`: what is declared gets its replicas."""
    document = {"vhosts": [{"name": vhost}], **definitions(topology(ORDER), vhost=vhost)}
    node = cluster.living[0]
    url = f"http://{HOST}:{node.http_port}"
    management = Management(url, user=ADMIN, password=cluster.password())
    return place(document, management, count=len(cluster.nodes), prefix=node.prefix())


def test_a_node_cut_off_from_everybody_for_a_minute_costs_no_attempt(
    cluster: Cluster, fronted: Scripted, write: Write
) -> None:
    cut_off = cluster.gather(fronted.federation.vhost)
    run = begun(fronted, write(order=ORDER, **QUICK))
    cluster.cut_off(cut_off)
    since = time.monotonic()
    check_at_ease(fronted, run)
    wait_until(lambda: time.monotonic() - since > CUT_OFF_S, what="a minute", within_s=CUT_OFF_S)
    run = begun(fronted, write(order=ORDER, **QUICK))
    cluster.heal(cut_off)
    check_at_ease(fronted, run)
    check_at_ease(fronted, fronted.submit(write(order=ORDER, **QUICK)))
