"""What happens at a site is counted as what it is."""

from __future__ import annotations

from support.numbers import shown
from support.sites import turn
from tasuki.errors import MessageError
from tasuki.observe.metrics import Subject
from tasuki.observe.site import SiteMetrics
from tasuki.transport.amqp import Counters
from tasuki.wire import names
from tasuki_site.facts import DeadLettered, Fact, HandedOver, Trained, TurnDropped
from tasuki_site.measuring import into

ID = turn().id


def after(*facts: Fact) -> dict[str, float]:
    """What is counted, without what is 0."""
    subject = Subject(service="site-1", counters=Counters(), is_up=lambda: True)
    metrics = SiteMetrics(subject, has_turn=lambda: False)
    watch = into(metrics)
    for fact in facts:
        watch(fact)
    return {name: value for name, value in shown(metrics).items() if value}


def refusals(*facts: Fact) -> list[str]:
    return [name for name in after(*facts) if name.startswith("tasuki_messages_refused")]


def test_a_message_is_counted_by_its_queue_and_its_reason() -> None:
    error = MessageError("no", reason="oversized")
    (name,) = refusals(DeadLettered(queue=names.control_queue("site-1"), error=error))
    assert 'queue_kind="control",reason="oversized"' in name


def test_a_turn_that_was_not_taken_is_counted() -> None:
    (name,) = refusals(TurnDropped(id=ID, reason="stale_term"))
    assert 'queue_kind="turns",reason="stale_term"' in name


def test_a_turn_of_its_own_that_is_void_is_no_refused_message() -> None:
    assert refusals(TurnDropped(id=ID, reason="fenced"), TurnDropped(id=ID, reason="void")) == []


def test_training_and_handing_over_are_timed() -> None:
    numbers = after(Trained(id=ID, seconds=7), HandedOver(id=ID, seconds=0.3, size=100))
    assert numbers['tasuki_turn_seconds_sum{site="site-1"}'] == 7
    assert numbers['tasuki_handoff_seconds_sum{site="site-1"}'] == 0.3
    assert numbers['tasuki_handoff_bytes_total{site="site-1"}'] == 100
