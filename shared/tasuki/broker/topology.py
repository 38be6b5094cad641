"""What has to exist on the broker before a federation can run, as data.

Declared once by whoever provisions, long before use, and never by a site: RabbitMQ can forget a
quorum queue that it declared less than a second before it is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasuki.core.model import CONTROLLER
from tasuki.ports import Route
from tasuki.wire import names

Arguments = Mapping[str, str | int | bool]

NOTHING = "^$"

PLACING = frozenset(
    {"x-quorum-initial-group-size", "x-initial-cluster-size", "x-queue-leader-locator"}
)
"""Arguments that say where a queue begins. Where its replicas are may change without them."""

PRIORITY = 100
"""Of our policies. A queue has one policy, that of the highest number, and an operator may have a
few of his own for all queues of a broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    name: str
    type: str = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A durable queue or stream and the routes that lead to it."""

    name: str
    arguments: Arguments = field(default_factory=dict)
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What one user may do in the vhost: patterns that object names must match."""

    user: str
    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What holds for all queues whose names match, those that are there already among them.

    Attributes:
        definition: as RabbitMQ spells it.
    """

    name: str
    pattern: str
    definition: Arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How much a queue holds at most: messages, and their bytes."""

    messages: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much the broker keeps, and on how many of its nodes.

    Attributes:
        stream_bytes: retained per weights stream; at least three transfers of the largest run.
        segment_bytes: what a stream drops at a time when it has too much.
        control_messages: retained per control queue; older ones give way.
        control_ttl_s: control older than this is about a world that is gone.
        turns: of a site's queue of turns; beyond it nobody's are taken, and senders wait.
        reports: of all sites' reports together; likewise.
        dead: of the dead letters; the oldest give way.
        replicas: how many nodes have each queue and stream; all of a broker with fewer.
    """

    stream_bytes: int = 20 * 10**9
    segment_bytes: int = 100 * 10**6
    control_messages: int = 1000
    control_ttl_s: int = 300
    turns: Length = Length(messages=2_000, size=256 * 2**20)
    reports: Length = Length(messages=10_000, size=256 * 2**20)
    dead: Length = Length(messages=10_000, size=256 * 2**20)
    replicas: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Everything of one federation on its vhost."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    policies: tuple[Policy, ...]
    permissions: tuple[Permissions, ...]


def is_stream(queue: str) -> bool:
    """Whether this name is a stream's, which is read by offset and never consumed."""
    return queue.startswith(names.weights_stream(""))


def topology(sites: Iterable[str], *, sizes: Sizes | None = None) -> Topology:
    """The topology of a federation of these sites."""
    sizes = sizes or Sizes()
    sites = tuple(sites)
    return Topology(
        exchanges=_EXCHANGES,
        queues=(
            _turns_or_reports(names.REPORTS, names.to_controller(), sizes),
            Queue(name=names.DEAD, arguments=_quorum(sizes), routes=(_DEAD_LETTERS,)),
            _stream(CONTROLLER, sizes),
            *(queue for site in sites for queue in _site_queues(site, sizes)),
        ),
        policies=_bounds(sizes),
        permissions=(_controller_permissions(), *map(_site_permissions, sites)),
    )


def definitions(topology: Topology, *, vhost: str) -> dict[str, list[dict[str, object]]]:
    """The topology as a RabbitMQ definitions document, for its management API or its start."""
    of = {"vhost": vhost}
    durable = {"durable": True, "auto_delete": False}
    return {
        "exchanges": [
            {"name": e.name, "type": e.type, "internal": False, "arguments": {}, **durable, **of}
            for e in topology.exchanges
        ],
        "queues": [
            {"name": queue.name, "arguments": dict(queue.arguments), **durable, **of}
            for queue in topology.queues
        ],
        "bindings": [
            _binding(queue, route) | of for queue in topology.queues for route in queue.routes
        ],
        "policies": [
            {
                "name": policy.name,
                "pattern": policy.pattern,
                "apply-to": "queues",
                "priority": PRIORITY,
                "definition": dict(policy.definition),
                **of,
            }
            for policy in topology.policies
        ],
        "permissions": [
            {"user": p.user, "configure": p.configure, "write": p.write, "read": p.read, **of}
            for p in topology.permissions
        ],
    }


_EXCHANGES = (
    Exchange(name=names.TURNS),
    Exchange(name=names.WEIGHTS),
    Exchange(name=names.REPORTS),
    Exchange(name=names.CONTROL, type="topic"),
    Exchange(name=names.DEAD),
)
_DEAD_LETTERS = Route(exchange=names.DEAD, key=names.DEAD)
# Else all leaders begin on the node that was asked to declare them, and fall with it together.
_SPREAD: Arguments = {"x-queue-leader-locator": "balanced"}


def _site_queues(site: str, sizes: Sizes) -> tuple[Queue, ...]:
    return (
        _turns_or_reports(names.turns_queue(site), names.to_turns(site), sizes),
        _stream(site, sizes),
        _control(site, sizes),
    )


def _quorum(sizes: Sizes) -> Arguments:
    return {
        "x-queue-type": "quorum",
        "x-quorum-initial-group-size": sizes.replicas,
        **_SPREAD,
    }


def _turns_or_reports(name: str, route: Route, sizes: Sizes) -> Queue:
    arguments: Arguments = {
        **_quorum(sizes),
        "x-single-active-consumer": True,
        "x-dead-letter-exchange": _DEAD_LETTERS.exchange,
        "x-dead-letter-routing-key": _DEAD_LETTERS.key,
    }
    return Queue(name=name, arguments=arguments, routes=(route,))


def _bounds(sizes: Sizes) -> tuple[Policy, ...]:
    """As policies and not as arguments: those are for life, and these are also for queues of old.

    What is refused stays with its sender, who tries again. Were the oldest to give way, a turn or
    a result that the broker has confirmed would be lost.
    """
    any_turns = f"^{_literal(names.turns_queue(''))}.+$"
    return (
        _bound("tasuki-turns", any_turns, sizes.turns, overflow="reject-publish"),
        _bound("tasuki-reports", _any_of(names.REPORTS), sizes.reports, overflow="reject-publish"),
        _bound("tasuki-dead", _any_of(names.DEAD), sizes.dead, overflow="drop-head"),
    )


def _bound(name: str, pattern: str, length: Length, *, overflow: str) -> Policy:
    definition: Arguments = {
        "max-length": length.messages,
        "max-length-bytes": length.size,
        "overflow": overflow,
    }
    return Policy(name=name, pattern=pattern, definition=definition)


def _stream(reader: str, sizes: Sizes) -> Queue:
    arguments: Arguments = {
        "x-queue-type": "stream",
        "x-max-length-bytes": sizes.stream_bytes,
        # Only whole segments are dropped: without this a stream keeps up to 500 MB too much.
        "x-stream-max-segment-size-bytes": sizes.segment_bytes,
        "x-initial-cluster-size": sizes.replicas,
        **_SPREAD,
    }
    name = names.weights_stream(reader)
    return Queue(name=name, arguments=arguments, routes=(names.to_weights(reader),))


def _control(site: str, sizes: Sizes) -> Queue:
    # Not classic: that lives on one node, and a fence has to arrive without it.
    arguments: Arguments = {
        **_quorum(sizes),
        "x-max-length": sizes.control_messages,
        "x-message-ttl": sizes.control_ttl_s * 1000,
    }
    routes = (names.to_control(site), names.to_control())
    return Queue(name=names.control_queue(site), arguments=arguments, routes=routes)


def _site_permissions(site: str) -> Permissions:
    own = (names.turns_queue(site), names.weights_stream(site), names.control_queue(site))
    return Permissions(
        user=site,
        write=_any_of(names.TURNS, names.WEIGHTS, names.REPORTS),
        read=_any_of(*own),
    )


def _controller_permissions() -> Permissions:
    # Any site's stream: weights that are stuck at a dead site are rescued from there.
    any_stream = _literal(names.weights_stream("")) + ".+"
    return Permissions(
        user=CONTROLLER,
        write=_any_of(names.TURNS, names.WEIGHTS, names.CONTROL),
        read=f"^({_literal(names.REPORTS)}|{_literal(names.DEAD)}|{any_stream})$",
    )


def _any_of(*allowed: str) -> str:
    return f"^({'|'.join(map(_literal, allowed))})$"


def _literal(name: str) -> str:
    return name.replace(".", r"\.")  # the only character of a name that means more


def _binding(queue: Queue, route: Route) -> dict[str, object]:
    return {
        "source": route.exchange,
        "destination": queue.name,
        "destination_type": "queue",
        "routing_key": route.key,
        "arguments": {},
    }
