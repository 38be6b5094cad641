"""What operators ask of a controller that runs in the test's own process."""

from __future__ import annotations

from support.relay import Relay
from tasuki.core.model import CONTROLLER
from tasuki.observe.controller import ControllerMetrics
from tasuki.observe.metrics import Subject
from tasuki.transport.amqp import Counters
from tasuki_controller.operations import Operations
from tasuki_controller.uploads import Uploads


def operations_of(it: Relay, *, stream_bytes: int = 2**40) -> Operations:
    """Of that controller. `stream_bytes`: what its streams are said to keep."""
    subject = Subject(service=CONTROLLER, counters=Counters(), is_up=lambda: True, folder=it.folder)
    operations = Operations(
        ledger=it.ledger,
        uploads=Uploads(it.folder / "uploads"),
        metrics=ControllerMetrics(subject),
        stream_bytes=stream_bytes,
        sites=it.sites,
    )
    operations.serve(it.controller)
    return operations
