"""Every queue, exchange, stream and routing key name. Made here and nowhere else."""

from __future__ import annotations

from tasuki.core.model import CONTROLLER
from tasuki.ports import Route

TURNS = "tasuki.turns"
WEIGHTS = "tasuki.weights"
REPORTS = "tasuki.reports"
CONTROL = "tasuki.control"
DEAD = "tasuki.dead"


def turns_queue(site: str) -> str:
    return f"{TURNS}.{site}"


def weights_stream(reader: str) -> str:
    """The stream of a site or of the controller."""
    return f"{WEIGHTS}.{reader}"


def control_queue(site: str) -> str:
    return f"{CONTROL}.{site}"


def to_turns(site: str) -> Route:
    return Route(exchange=TURNS, key=site)


def to_weights(reader: str) -> Route:
    return Route(exchange=WEIGHTS, key=reader)


def to_controller() -> Route:
    return Route(exchange=REPORTS, key=CONTROLLER)


def to_control(site: str | None = None) -> Route:
    """The control key of one site, or of all."""
    return Route(exchange=CONTROL, key="all" if site is None else f"site.{site}")
