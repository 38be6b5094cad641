"""A run whose numbers are followed, as the controller does it."""

from __future__ import annotations

from support.numbers import shown
from support.runs import Relay
from tasuki.core import run as machine
from tasuki.core.model import Plan
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Subject
from tasuki.transport.amqp import Counters


class Measured(Relay):
    """Its every event is measured, at the time `now`."""

    def __init__(self, of: Plan | None = None) -> None:
        self.now = 1000.0
        self.counters = Counters()
        subject = Subject(service="controller", counters=self.counters, is_up=lambda: True)
        self.metrics = ControllerMetrics(subject, now=lambda: self.now)
        super().__init__(of)

    def __call__(self, event: machine.Event) -> tuple[machine.Effect, ...]:
        effects = super().__call__(event)
        outcome = next((e.reason for e in effects if isinstance(e, machine.Drop)), "")
        self.metrics.runs.changed(self.state, event, outcome, effects=effects)
        return effects

    @property
    def numbers(self) -> dict[str, float]:
        return shown(self.metrics)

    def of_run(self) -> list[str]:
        return [name for name in self.numbers if 'run="r"' in name]
