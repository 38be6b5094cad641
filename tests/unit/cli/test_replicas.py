"""Which replicas have to come and to go, and what is told of the rest."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tasuki_cli.provision.replicas import (
    Change,
    Nodes,
    Placed,
    Wanted,
    away,
    changes,
    missing,
    renewals,
    spread,
    torn,
    uneven,
)

A, B, C, D = "rabbit@a", "rabbit@b", "rabbit@c", "rabbit@d"
THREE = Nodes(running=(A, B, C))
TURNS, WEIGHTS, CONTROL = "tasuki.turns.s", "tasuki.weights.s", "tasuki.control.s"


def on(*nodes: str, name: str = TURNS, kind: str = "quorum") -> Placed:
    there = frozenset(nodes)
    return Placed(name=name, kind=kind, leader=nodes[0], members=there, online=there)


def wanted(*placed: Placed, replicas: int = 3) -> Wanted:
    return Wanted(queues=tuple(each.name for each in placed), replicas=replicas)


def done(placed: list[Placed], todo: list[Change]) -> list[Placed]:
    """What it looks like afterwards, if all goes well."""
    there = {each.name: each for each in placed}
    for change in todo:
        each, node = there[change.queue], {change.node}
        members = each.members | node if change.adds else each.members - node
        there[change.queue] = replace(each, members=members, online=members)
    return list(there.values())


def test_what_is_on_all_nodes_is_whole() -> None:
    whole = [on(A, B, C), on(C, A, B, name=WEIGHTS, kind="stream")]

    assert [] == changes(whole, THREE, wanted(*whole))
    assert [] == missing(whole, THREE, wanted(*whole))


def test_a_smaller_broker_has_as_many_replicas_as_nodes() -> None:
    placed = on(A, B)

    two = Nodes(running=(A,), away=(B,))
    assert 2 == wanted(placed).on(two)
    assert [] == changes([placed], two, wanted(placed))


def test_a_grown_broker_gets_replicas_on_its_new_nodes() -> None:
    placed = [on(A), on(A, name=WEIGHTS, kind="stream")]

    todo = changes(placed, THREE, wanted(*placed))

    assert [(TURNS, False), (TURNS, False), (WEIGHTS, True), (WEIGHTS, True)] == [
        (change.queue, change.is_stream) for change in todo
    ]
    assert {B, C} == {change.node for change in todo}
    assert [
        "tasuki.turns.s has 1 of 3 replicas (rabbit@a)",
        "tasuki.weights.s has 1 of 3 replicas (rabbit@a)",
    ] == missing(placed, THREE, wanted(*placed))


def test_new_replicas_go_where_there_are_fewest() -> None:
    four = Nodes(running=(A, B, C, D))
    placed = [on(A, B, C, name=f"q{number}") for number in range(3)] + [on(A, B, name="new")]

    assert [D] == [change.node for change in changes(placed, four, wanted(*placed))]


def test_the_replica_of_a_forgotten_node_goes_before_another_comes() -> None:
    placed = on(A, B, D)

    todo = changes([placed], THREE, wanted(placed))

    assert [(D, False), (C, True)] == [(change.node, change.adds) for change in todo]
    assert "tasuki.turns.s has a replica on rabbit@d, which the broker has no more" in missing(
        [placed], THREE, wanted(placed)
    )


def test_a_queue_whose_nodes_are_all_gone_is_lost_and_said_to_be() -> None:
    placed = on(D)

    assert [] == changes([placed], THREE, wanted(placed))
    assert [
        "tasuki.turns.s was on rabbit@d alone, which is gone; delete it to have it made anew"
    ] == missing([placed], THREE, wanted(placed))


def test_a_node_that_is_away_keeps_its_replicas_and_is_told_of_once() -> None:
    nodes = Nodes(running=(A, B), away=(C,))
    placed = [
        replace(on(A, B, C, name=name), online=frozenset({A, B})) for name in (TURNS, CONTROL)
    ]

    assert [] == changes(placed, nodes, wanted(*placed))
    assert [] == missing(placed, nodes, wanted(*placed))
    (told,) = away(placed, nodes, wanted(*placed))
    assert told.startswith("rabbit@c is away, with a replica of 2 queues and streams")
    assert "forget_cluster_node rabbit@c" in told


def test_a_replica_that_does_not_run_on_a_node_that_does_is_told_of() -> None:
    placed = replace(on(A, B, C), online=frozenset({A, B}))

    assert ["tasuki.turns.s has a replica on rabbit@c that does not run"] == missing(
        [placed], THREE, wanted(placed)
    )
    assert [] == changes([placed], THREE, wanted(placed))
    assert [(C, False), (C, True)] == [
        (change.node, change.adds) for change in renewals([placed], THREE)
    ]


def test_a_replica_is_not_made_anew_while_the_others_are_no_majority() -> None:
    assert [] == renewals([replace(on(A, B, C), online=frozenset({A}))], THREE)


def test_a_queue_that_is_not_there_is_told_of() -> None:
    assert ["tasuki.turns.s is not there"] == missing([], THREE, wanted(on(A)))


def test_a_classic_queue_that_could_not_be_replaced_is_told_of() -> None:
    placed = Placed(name=CONTROL, kind="classic")

    assert [] == changes([placed], THREE, wanted(placed))
    assert [] == missing([placed], THREE, wanted(placed))
    (told,) = away([placed], THREE, wanted(placed))
    assert told.startswith("tasuki.control.s is a classic queue on a node that is away")
    assert [] == away([placed], THREE, wanted(on(A)))


def test_more_replicas_than_wanted_are_left_alone() -> None:
    placed = on(A, B, C)

    assert [] == changes([placed], THREE, wanted(placed, replicas=1))


def test_leaders_that_are_all_on_one_node_are_uneven() -> None:
    queues = [on(A, B, C, name=f"q{number}") for number in range(12)]
    streams = [on(C, A, B, name=f"s{number}", kind="stream") for number in range(12)]

    found = uneven([*queues, *streams], THREE)

    assert {"quorum": "rabbit@a 12, rabbit@b 0, rabbit@c 0"} == {
        kind: spread(leads) for kind, leads in found.items() if kind == "quorum"
    }
    assert {"quorum", "stream"} == set(found)


def test_a_few_queues_may_be_led_by_whomever() -> None:
    queues = [on(A, B, C, name=f"q{number}") for number in range(5)]
    streams = [on(A, B, C, name=f"s{number}", kind="stream") for number in range(11)]

    assert {} == uneven([*queues, *streams], THREE)


def test_leaders_that_are_spread_are_even() -> None:
    orders = [(A, B, C), (B, C, A), (C, A, B)]
    queues = [on(*orders[number % 3], name=f"q{number}") for number in range(12)]

    assert {} == uneven(queues, THREE)


NODE_NAMES = st.sampled_from(["n1", "n2", "n3", "n4", "n5", "gone"])
SOME = st.frozensets(NODE_NAMES).map(lambda more: more | {"n1"})


@given(
    placed=st.lists(SOME, max_size=8),
    running=st.frozensets(st.sampled_from(["n2", "n3", "n4", "n5"])).map(lambda few: few | {"n1"}),
    replicas=st.integers(1, 5),
)
def test_after_all_changes_nothing_is_missing_and_nothing_is_left_to_do(
    placed: list[frozenset[str]], running: frozenset[str], replicas: int
) -> None:
    nodes = Nodes(running=tuple(sorted(running)))
    before = [
        Placed(name=f"q{number}", kind="quorum", leader="n1", members=members, online=members)
        for number, members in enumerate(placed)
    ]
    plan = wanted(*before, replicas=replicas)

    after = done(before, changes(before, nodes, plan))

    assert [] == missing(after, nodes, plan)
    assert [] == changes(after, nodes, plan)
    for each in after:
        assert len(each.members) >= min(replicas, len(running))
        assert each.members <= running


def test_of_nodes_that_are_torn_apart_the_smaller_part_starts_anew() -> None:
    assert [] == torn({A: (), B: (), C: ()})
    (said,) = torn({A: (B,), B: (A, C), C: (B,)})
    assert f"{A} and {B} and {C} were torn apart" in said
    assert f"restart RabbitMQ on {B}, then" in said


def test_of_two_nodes_that_are_torn_apart_one_starts_anew() -> None:
    (said,) = torn({A: (B,), B: (A,)})
    assert f"restart RabbitMQ on {B}, then" in said
