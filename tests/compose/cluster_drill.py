"""The drill of the broker of three nodes: what `compose/cluster.yaml` promises, done to it.

    make cluster-drill [RABBITMQ_IMAGE=rabbitmq:3.13-management]

While runs go on, one node is killed and comes back, one is cut off by the network for a minute, one
is lost for good and replaced, and all are restarted one after the other. Every run has to end with
the weights of the undisturbed one. It says what it saw, and takes half an hour; CI does without it.

It needs what the compose drill needs, whose first lines say it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise

from compose import course, monitors, nodes
from compose.field import Field
from support.waiting import wait_until

SERVICES = (*nodes.NODES, "controller", "site-1", "site-2", "site-3", "prometheus", "grafana")
RUN_S = 300.0  # how long each run should go on: longer than what is done to it
LEASE_S = 60.0
CUT_S = 60.0
NODE_DOWN, NODE_APART = "TasukiBrokerNodeDown", "TasukiBrokerNodeApart"
REPLICAS_MISSING = "TasukiReplicasMissing"


def everything_gets_healthy(field: Field) -> None:
    course.get_healthy(field, SERVICES, *SERVICES)
    nodes.await_whole(field)
    field.say("every queue and stream runs on all three nodes")


def leaders_are_spread(field: Field) -> None:
    nodes.admin_is_made(field)
    nodes.provision(field)


def a_run_is_long_enough(field: Field) -> None:
    """How many rounds are, on this machine, now."""
    field.rounds, field.epochs = 2, 10
    began = time.monotonic()
    field.submit_the_usual("first")
    field.await_finish("first")
    took = (time.monotonic() - began) / field.rounds
    field.rounds = max(6, min(60, round(RUN_S / took)))
    field.say(f"a round takes {took:.1f} s, so runs have {field.rounds}")


def a_killed_node_changes_no_bit(field: Field) -> None:
    with _a_run(field, "node-killed"):
        victim = nodes.leading_most(field)
        nodes.stop_dead(field, victim)
        field.say(f"{victim} was killed, and stays away")
        _goes_on(field, "node-killed")
        monitors.await_alert(field, NODE_DOWN, within_s=60, instance=f"{victim}:15692")
        began = time.monotonic()
        nodes.start(field, victim)
        field.await_healthy(victim)
        nodes.await_whole(field, asked=nodes.other_than(victim))
        field.say(f"{victim} has all its replicas {time.monotonic() - began:.0f} s after its start")
    monitors.await_quiet(field, NODE_DOWN, NODE_APART, REPLICAS_MISSING, within_s=180)


def a_node_cut_off_for_a_minute_changes_no_bit(field: Field) -> None:
    with _a_run(field, "node-cut"):
        # Not the one whose ports are this machine's too: the engine would not publish them again.
        victim = nodes.leading_most(field, among=nodes.NODES[1:])
        networks = field.stack.cut(victim)
        cut_at = time.monotonic()
        field.say(f"{victim} is cut from {', '.join(networks)}")
        _goes_on(field, "node-cut")
        wait_until(
            lambda: time.monotonic() - cut_at >= CUT_S,
            what="the cut has lasted a minute",
            within_s=2 * CUT_S,
            poll_s=1,
        )
        monitors.await_alert(field, NODE_DOWN, within_s=30, instance=f"{victim}:15692")
        field.stack.join(victim, networks)
        began = time.monotonic()
        nodes.await_whole(field, asked=nodes.other_than(victim))
        field.say(f"{victim} has all its replicas {time.monotonic() - began:.0f} s after the cut")
        nodes.mend_if_torn(field, victim)
    monitors.await_quiet(field, NODE_DOWN, NODE_APART, REPLICAS_MISSING, within_s=180)


def a_node_lost_for_good_is_replaced(field: Field) -> None:
    victim, other = nodes.NODES[2], nodes.NODES[0]
    with _a_run(field, "node-lost"):
        nodes.lose(field, victim)
        field.say(f"{victim} is gone, with its data")
        _goes_on(field, "node-lost")
        monitors.await_alert(field, NODE_DOWN, within_s=60, instance=f"{victim}:15692")
        nodes.ctl(field, other, "rabbitmqctl", "forget_cluster_node", f"rabbit@{victim}")
        # 3.10 would start its streams on the new one before that has joined, and keep it from it.
        nodes.provision(field)
        began = time.monotonic()
        field.stack.compose("up", "--detach", "--no-deps", victim)
        field.await_healthy(victim)
        field.say(f"a new {victim} has joined, {time.monotonic() - began:.0f} s after its start")
        lacking = nodes.lacking(field, asked=other)
        field.say(f"not on it by themselves: {', '.join(lacking) or 'nothing'}")
        if lacking:
            monitors.await_alert(field, REPLICAS_MISSING, within_s=240)
        nodes.provision(field)
        nodes.await_whole(field)
    monitors.await_quiet(field, NODE_DOWN, NODE_APART, REPLICAS_MISSING, within_s=240)


def a_rolling_restart_has_no_turn_trained_twice(field: Field) -> None:
    before = _trainings(field)
    with _a_run(field, "rolling"):
        for node in nodes.NODES:
            assert field.is_over("rolling") is None, "the run was over too early"
            began = time.monotonic()
            nodes.ctl(field, node, "rabbitmq-upgrade", "await_online_quorum_plus_one", "-t", "120")
            nodes.ctl(field, node, "rabbitmq-upgrade", "drain")
            field.stack.compose("restart", "--no-deps", node)
            field.await_healthy(node)
            nodes.await_whole(field, asked=nodes.other_than(node))
            field.say(f"{node} was restarted in {time.monotonic() - began:.0f} s")
    turns = field.runs.standing("rolling")["turns"]
    trained = _trainings(field) - before
    field.say(f"{turns} turns, {trained} trainings")
    assert trained == turns
    monitors.await_quiet(field, NODE_DOWN, NODE_APART, REPLICAS_MISSING, within_s=180)


@contextmanager
def _a_run(field: Field, run: str) -> Iterator[None]:
    """A run that is on its way, while this lasts; then it has to end as the undisturbed one."""
    field.submit_the_usual(run, lease_s=LEASE_S)
    field.await_holder(run)
    yield
    if field.is_over(run) is not None:
        field.say("the run was over before that was")
    field.await_finish(run, within_s=1200)
    field.ended_as_undisturbed(run)
    ends = _ends_of_turns(field, run)
    longest = max((later - earlier).total_seconds() for earlier, later in pairwise(ends))
    rows = field.runs.ledger(run)
    again = [row["event"] for row in rows if row["event"] in _TAKEN_BACK]
    field.say(f"the longest turn took {longest:.1f} s; taken back: {', '.join(again) or 'nothing'}")
    assert longest < LEASE_S + 60


_TAKEN_BACK = {"TurnFailed", "TurnReturned", "LeaseExpired", "SiteForgot", "RelayLost"}


def _ends_of_turns(field: Field, run: str) -> list[datetime]:
    rows = field.runs.ledger(run)
    return sorted(datetime.fromisoformat(r["at"]) for r in rows if r["event"] == "TurnFinished")


def _goes_on(field: Field, run: str) -> None:
    """Two more turns are accepted, within a lease and a minute."""
    began, turns = time.monotonic(), field.runs.standing(run)["turns"]
    wait_until(
        lambda: field.runs.standing(run)["turns"] >= turns + 2,
        what="the run goes on",
        within_s=LEASE_S + 60,
        poll_s=0.5,
    )
    field.say(f"two more turns within {time.monotonic() - began:.1f} s")


def _trainings(field: Field) -> int:
    """How often the sites have trained, all together, while no run is on."""
    counts = [-1]

    def is_all_told() -> bool:
        (found,) = field.stack.query('sum(tasuki_turn_seconds_count{job="tasuki-controller"})')
        counts.append(int(found["value"][1]))
        return counts[-1] == counts[-2]

    # Sites tell it every ten seconds, and Prometheus asks every five.
    wait_until(is_all_told, what="all trainings are counted", within_s=180, poll_s=20)
    return counts[-1]


STEPS: tuple[course.Step, ...] = (
    course.images_are_built,
    everything_gets_healthy,
    leaders_are_spread,
    monitors.prometheus_reads_all_targets_and_rules,
    a_run_is_long_enough,
    monitors.every_panel_has_data,
    a_killed_node_changes_no_bit,
    a_node_cut_off_for_a_minute_changes_no_bit,
    a_node_lost_for_good_is_replaced,
    a_rolling_restart_has_no_turn_trained_twice,
)


def main() -> int:
    return course.run(
        STEPS, files=("compose.yaml", "cluster.yaml"), shown=(*nodes.NODES, *SERVICES[3:7])
    )


if __name__ == "__main__":
    sys.exit(main())
