"""A node of the broker that is away for long, or for good, while runs go on: P1, P2 and P4.

Nobody does anything about the runs; the broker is mended as an operator would.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.federation import SITES
from support.rabbit import ADMIN, HOST, Rabbit
from support.scripted import ROUNDS, Row, Scripted, scripted, write_scripted
from support.waiting import wait_until
from tasuki.transport.topology import definitions, topology
from tasuki_cli.provision.management import Management
from tasuki_cli.provision.placement import place

LEASE_S = 30.0
LONGEST_S = LEASE_S + 60
SETTINGS = "retry_s = 1\nanswer_s = 5"
CUT_S = 60.0
TURNS = ROUNDS * len(SITES)

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Iterator[Scripted]:
    """Its services lose a node that is cut off from the others."""
    cluster.mend()
    folder = tmp_path_factory.mktemp("scripted")
    with scripted(folder, cluster, settings=SETTINGS, hosts=cluster.fronts) as federation:
        federation.check(federation.submit(write_scripted(folder, "first")))
        yield federation


def submitted(federation: Scripted, folder: Path, name: str, *, pause_s: float) -> str:
    """A run whose turns take their time, and are counted."""
    failure = f'lease_s = {LEASE_S}\non_silent = "retry"'
    file = write_scripted(folder, name, pause_s=pause_s, failure=failure, params="stamps = true")
    run = federation.submit(file)
    federation.federation.await_turns(run, 1)
    return run


def check(federation: Scripted, run: str) -> None:
    """It ended as undisturbed, and no turn took longer than its lease and a minute."""
    times = [moment(row) for row in federation.check(run) if row["event"] == "TurnFinished"]
    assert max(after - before for before, after in itertools.pairwise(times)) < LONGEST_S


def moment(row: Row) -> float:
    return datetime.fromisoformat(row["at"]).timestamp()


def trained(folder: Path, name: str) -> int:
    """How often a trainer was begun."""
    lines = (folder / name / "stamps").read_text().splitlines()
    return sum(json.loads(line)["what"] == "start" for line in lines)


def test_no_turn_is_trained_twice_while_all_nodes_are_restarted_one_after_the_other(
    cluster: Cluster, federation: Scripted, tmp_path: Path
) -> None:
    run = submitted(federation, tmp_path, "rolling", pause_s=8)
    for node in list(cluster.nodes):
        cluster.terminate(node)
        cluster.restart(node)
    check(federation, run)

    assert TURNS == trained(tmp_path, "rolling")


def test_runs_do_not_notice_a_node_that_is_cut_off_for_a_minute(
    cluster: Cluster, federation: Scripted, tmp_path: Path
) -> None:
    node = cluster.gather(federation.federation.vhost)
    run = submitted(federation, tmp_path, "cut-off", pause_s=10)
    cut = time.monotonic()
    cluster.cut_off(node)
    wait_until(lambda: time.monotonic() > cut + CUT_S, what="a minute", within_s=CUT_S + 10)
    cluster.heal(node)
    check(federation, run)

    assert TURNS == trained(tmp_path, "cut-off")


def test_a_node_that_is_gone_for_good_is_replaced_while_a_run_goes_on(
    cluster: Cluster, federation: Scripted, tmp_path: Path
) -> None:
    vhost = federation.federation.vhost
    lost = cluster.gather(vhost)
    run = submitted(federation, tmp_path, "replaced", pause_s=10)
    cluster.lose(lost)
    federation.federation.await_turns(run, 2)
    cluster.forget(lost)
    new = cluster.join(port=lost.port)
    replicate(cluster, new, vhost)
    cluster.await_whole()
    check(federation, run)


def replicate(cluster: Cluster, node: Rabbit, vhost: str) -> None:
    """What `tasuki provision --apply` does about replicas."""
    management = Management(
        f"http://{HOST}:{node.http_port}", user=ADMIN, password=cluster.password()
    )
    document = {"vhosts": [{"name": vhost}], **definitions(topology(SITES), vhost=vhost)}
    placement = place(document, management, count=len(cluster.nodes), prefix=node.prefix())

    assert [] == placement.missing
