"""The topology as data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from tasuki.broker.topology import Length, Permissions, Sizes, definitions, is_stream, topology
from tasuki.core.model import CONTROLLER
from tasuki.wire import names
from tasuki.wire.messages import MAX_BYTES

SITES = ("site-1", "site-2", "a.b_c")


def permissions(user: str) -> Permissions:
    return next(p for p in topology(SITES).permissions if p.user == user)


def test_every_route_leads_to_one_queue_except_control_for_all() -> None:
    routes = [route for queue in topology(SITES).queues for route in queue.routes]

    assert {route for route in routes if routes.count(route) > 1} == {names.to_control()}
    for site in SITES:
        assert {names.to_turns(site), names.to_weights(site), names.to_control(site)} <= set(routes)
    assert {names.to_controller(), names.to_weights(CONTROLLER)} <= set(routes)


def test_every_route_starts_at_an_exchange_that_exists() -> None:
    built = topology(SITES)
    exchanges = {exchange.name for exchange in built.exchanges}

    assert {route.exchange for queue in built.queues for route in queue.routes} == exchanges


def test_streams_and_only_streams_are_called_so() -> None:
    for queue in topology(SITES).queues:
        assert is_stream(queue.name) == (queue.arguments["x-queue-type"] == "stream")


def test_a_stream_keeps_what_it_was_given_room_for() -> None:
    built = topology(SITES, sizes=Sizes(stream_bytes=10**9, segment_bytes=10**8))
    streams = [queue for queue in built.queues if is_stream(queue.name)]

    assert len(streams) == len(SITES) + 1
    for stream in streams:
        assert stream.arguments["x-max-length-bytes"] == 10**9
        assert stream.arguments["x-stream-max-segment-size-bytes"] == 10**8


def test_everything_is_kept_on_several_nodes_and_led_by_different_ones() -> None:
    for queue in topology(SITES, sizes=Sizes(replicas=5)).queues:
        key = "x-initial-cluster-size" if is_stream(queue.name) else "x-quorum-initial-group-size"
        assert queue.arguments[key] == 5
        assert queue.arguments["x-queue-leader-locator"] == "balanced"


def test_control_survives_a_node_and_neither_piles_up_nor_grows_old() -> None:
    sizes = Sizes(control_messages=10, control_ttl_s=3)
    built = {queue.name: queue.arguments for queue in topology(SITES, sizes=sizes).queues}

    for site in SITES:
        control = built[names.control_queue(site)]
        assert control["x-queue-type"] == "quorum"
        assert (control["x-max-length"], control["x-message-ttl"]) == (10, 3000)
        # What gave way or grew old is nobody's concern.
        assert "x-dead-letter-exchange" not in control


def bound_of(queue: str, sizes: Sizes | None = None) -> Mapping[str, object] | None:
    """What the one policy says that is about this queue, if there is one."""
    policies = topology(SITES, sizes=sizes).policies
    found = [it.definition for it in policies if re.search(it.pattern, queue)]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("queue", [names.REPORTS, *map(names.turns_queue, SITES)])
def test_turns_and_reports_that_are_too_many_stay_with_their_senders(queue: str) -> None:
    bound = bound_of(queue)
    assert bound is not None
    assert "reject-publish" == bound["overflow"]
    assert {"max-length", "max-length-bytes"} < bound.keys()


def test_of_too_many_dead_letters_the_oldest_give_way() -> None:
    sizes = Sizes(dead=Length(messages=5, size=100))
    expected = {"max-length": 5, "max-length-bytes": 100, "overflow": "drop-head"}
    assert expected == bound_of(names.DEAD, sizes)


def test_a_bound_is_no_argument_so_that_queues_of_old_get_it_too() -> None:
    for queue in topology(SITES).queues:
        bounded = {"x-max-length", "x-max-length-bytes", "x-overflow"} & queue.arguments.keys()
        assert bool(bounded) != (bound_of(queue.name) is not None), queue.name


def test_any_turn_fits_into_its_queue() -> None:
    """RabbitMQ takes one message whatever its size; what comes behind it has to fit too."""
    for length in (Sizes().turns, Sizes().reports, Sizes().dead):
        assert length.size >= 16 * MAX_BYTES


@pytest.mark.parametrize("site", SITES)
def test_a_site_may_read_its_own_queues_and_nothing_else(site: str) -> None:
    own = {names.turns_queue(site), names.weights_stream(site), names.control_queue(site)}
    readable = {
        queue.name
        for queue in topology(SITES).queues
        if re.search(permissions(site).read, queue.name)
    }

    assert readable == own


def test_a_dot_in_a_sites_name_is_a_dot() -> None:
    assert not re.search(permissions("a.b_c").read, names.turns_queue("axb_c"))


def test_the_controller_may_read_every_stream_the_reports_and_the_dead() -> None:
    readable = {
        queue.name
        for queue in topology(SITES).queues
        if re.search(permissions(CONTROLLER).read, queue.name)
    }
    streams = {names.weights_stream(reader) for reader in (*SITES, CONTROLLER)}

    assert readable == streams | {names.REPORTS, names.DEAD}


@pytest.mark.parametrize("user", [*SITES, CONTROLLER])
def test_nobody_may_configure_anything_or_publish_past_the_exchanges(user: str) -> None:
    allowed = permissions(user)

    assert allowed.configure == "^$"
    assert not re.search(allowed.write, "")
    assert not re.search(allowed.write, "amq.default")
    assert not re.search(allowed.write, names.turns_queue("site-1"))


def test_definitions_are_json_and_complete() -> None:
    built = topology(SITES)
    document = json.loads(json.dumps(definitions(built, vhost="relay")))

    assert len(document["policies"]) == len(built.policies)
    assert len(document["queues"]) == len(built.queues)
    assert len(document["bindings"]) == sum(len(queue.routes) for queue in built.queues)
    assert {one["vhost"] for part in document.values() for one in part} == {"relay"}
    assert all(queue["durable"] for queue in document["queues"])
