"""Which nodes of the broker have what of a federation, and what is missing: decided here alone.

`placement` looks and does; nothing here asks anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

_LITTLE = 4
"""A node that leads less than this part of its even share leads too little."""
_FEW = {"quorum": 2, "stream": 4}
"""With less than so many for each node, chance decides; leaders of streams cannot be moved."""


_REPLICATED = {"quorum", "stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The broker's nodes by name: those that run, and those that are away and not forgotten."""

    running: tuple[str, ...]
    away: tuple[str, ...] = ()

    @property
    def all(self) -> frozenset[str]:
        return frozenset({*self.running, *self.away})


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where one quorum queue or stream is.

    Attributes:
        kind: `quorum`, `stream`, or another one, which has no replicas.
        leader: empty while there is none.
        members: nodes that have a replica.
        online: those of them whose replica runs.
    """

    name: str
    kind: str
    leader: str = ""
    members: frozenset[str] = frozenset()
    online: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One replica that has to come or to go."""

    queue: str
    is_stream: bool
    node: str
    adds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What should be.

    Attributes:
        queues: the names of the federation's queues and streams.
        replicas: of each, if there are as many nodes.
    """

    queues: tuple[str, ...]
    replicas: int

    def on(self, nodes: Nodes) -> int:
        """How many replicas there can be: a node has one of each at most."""
        return min(self.replicas, len(nodes.all))


def changes(placed: Iterable[Placed], nodes: Nodes, wanted: Wanted) -> list[Change]:
    """What brings every queue and stream to its replicas, in the order in which to do it.

    Replicas of forgotten nodes go first: while they count, more of the others have to be there for
    a majority.
    """
    load = Counter(dict.fromkeys(nodes.running, 0))
    replicated = sorted(
        (it for it in placed if it.kind in _REPLICATED and it.members), key=lambda it: it.name
    )
    for each in replicated:
        load.update(each.members & load.keys())
    return [
        change for each in replicated for change in _changes(each, nodes, wanted.on(nodes), load)
    ]


def _changes(placed: Placed, nodes: Nodes, count: int, load: Counter[str]) -> Iterator[Change]:
    def change(node: str, *, adds: bool) -> Change:
        is_stream = placed.kind == "stream"
        return Change(queue=placed.name, is_stream=is_stream, node=node, adds=adds)

    members = placed.members & nodes.all
    if not members:
        return  # nobody has what was in it
    for node in sorted(placed.members - nodes.all):
        yield change(node, adds=False)
    free = sorted(load.keys() - members, key=lambda node: (load[node], node))
    for node in free[: max(0, count - len(members))]:
        load[node] += 1
        yield change(node, adds=True)


def renewals(placed: Iterable[Placed], nodes: Nodes) -> list[Change]:
    """What makes a replica anew that does not run although its node does.

    Only where the others are a majority without it.
    """
    return [
        Change(queue=each.name, is_stream=each.kind == "stream", node=node, adds=adds)
        for each in placed
        if 2 * len(each.online) > len(each.members)
        for node in sorted(each.members & {*nodes.running} - each.online)
        for adds in (False, True)
    ]


def missing(placed: Iterable[Placed], nodes: Nodes, wanted: Wanted) -> list[str]:
    """What each queue and stream lacks, by name. What is on a node that is away is not among it."""
    there = {each.name: each for each in placed}
    return [
        f"{name} {what}"
        for name in wanted.queues
        for what in _complaints(there.get(name), nodes, wanted.on(nodes))
    ]


def _complaints(placed: Placed | None, nodes: Nodes, count: int) -> Iterator[str]:
    if placed is None:
        yield "is not there"
        return
    if placed.kind not in _REPLICATED:
        return
    members = placed.members & nodes.all
    forgotten = sorted(placed.members - nodes.all)
    if forgotten and not members:
        yield f"was on {_and(forgotten)} alone, which is gone; delete it to have it made anew"
        return
    if forgotten:
        yield f"has a replica on {_and(forgotten)}, which the broker has no more"
    if len(members) < count:
        yield f"has {len(members)} of {count} replicas ({_and(sorted(members)) or 'none known'})"
    if down := sorted(members & {*nodes.running} - placed.online):
        yield f"has a replica on {_and(down)} that does not run"


def torn(apart: Mapping[str, Collection[str]]) -> list[str]:
    """Which nodes go on without one another though they are connected again, and who starts anew.

    Args:
        apart: for each node those from which it was torn, as it knows.
    """
    alone = sorted(node for node, others in apart.items() if others)
    if not alone:
        return []
    most = max(len(apart[node]) for node in alone)
    smaller = [node for node in alone if len(apart[node]) == most]
    # Each for itself: either may start anew, and not both at once.
    restarted = smaller[-1:] if len(smaller) == len(alone) else smaller
    return [
        f"{_and(alone)} were torn apart and do not know of one another any more, though the "
        "network is whole again; runs go on, and nothing else can change: restart RabbitMQ on "
        f"{_and(restarted)}, then provision again"
    ]


def away(placed: Sequence[Placed], nodes: Nodes, wanted: Wanted) -> list[str]:
    """Which nodes are away, and what waits for them: replicas, and queues of an earlier kind."""
    on = Counter(node for each in placed for node in each.members)
    return [
        *(
            f"{node} is away, with a replica of {on[node]} queues and streams; start it, or give "
            f"it up with rabbitmqctl forget_cluster_node {node}"
            for node in nodes.away
        ),
        *(
            f"{each.name} is a {each.kind} queue on a node that is away; provision with --apply "
            "again when that is back, and it is made anew"
            for each in placed
            if each.name in wanted.queues and each.kind not in _REPLICATED
        ),
    ]


def uneven(placed: Iterable[Placed], nodes: Nodes) -> dict[str, Counter[str]]:
    """By kind, who leads how many, where a node leads next to nothing."""
    found: dict[str, Counter[str]] = {}
    for kind, few in _FEW.items():
        of_kind = [each for each in placed if each.kind == kind]
        leads = Counter(dict.fromkeys(nodes.running, 0))
        leads.update(each.leader for each in of_kind if each.leader in leads)
        is_enough = len(of_kind) >= few * len(leads)
        if is_enough and min(leads.values()) < len(of_kind) / (_LITTLE * len(leads)):
            found[kind] = leads
    return found


def spread(leads: Counter[str]) -> str:
    """Who leads how many, in words."""
    return ", ".join(f"{node} {count}" for node, count in sorted(leads.items()))


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)
