"""The way to the broker: of one node step by step, of several a line for each.

A service goes on with any node that lets it in. So one that does not is a warning, and only none at
all is a failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from tasuki.broker.nodes import Node
from tasuki.settings.broker import BrokerTable
from tasuki.transport.amqp.probe import Probe
from tasuki.transport.broker import probe_of
from tasuki_cli.doctor import broker, network
from tasuki_cli.doctor.report import Check, Status, in_order

Checks = tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What was found on the way in.

    Attributes:
        probe: at the first node that let us in; at the first of all if none did.
    """

    checks: Checks
    probe: Probe


@contextmanager
def way(table: BrokerTable, *, who: str) -> Iterator[Way]:
    """Look at each node; what came in stays in until the end."""
    # A missing file is told also where the broker cannot be reached, and the other way round.
    proofs = in_order(network.proofs(table))
    with ExitStack() as held:
        tries = []
        for node in table.nodes:
            probe = held.enter_context(closing(probe_of(table, node, name="doctor")))
            tries.append(_try(table, node, probe, proofs, who=who))
        let_in = [each for each in tries if each.is_in]
        yield Way(checks=_told(tries, proofs), probe=(let_in or tries)[0].probe)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One node: the steps that need no proof of who we are, then those that do."""

    node: Node
    probe: Probe
    reached: Checks
    asked: Checks

    @property
    def is_in(self) -> bool:
        return self.asked[-1].status is Status.OK


def _try(table: BrokerTable, node: Node, probe: Probe, proofs: Checks, *, who: str) -> _Try:
    reached = in_order(network.steps(node))
    steps = [*network.handshake(table, node), broker.login(probe, who=who)]
    asked = in_order(steps, after=(*reached, *proofs))
    return _Try(node=node, probe=probe, reached=reached, asked=asked)


def _told(tries: Sequence[_Try], proofs: Checks) -> Checks:
    if len(tries) == 1:
        return (*tries[0].reached, *proofs, *tries[0].asked)
    lines = [_line(each) for each in tries]
    if any(each.is_in for each in tries):
        lines = [_as_warning(line) for line in lines]
    return (*proofs, *lines)


def _line(tried: _Try) -> Check:
    """All that was found of one node; what is worst says what to do."""
    name, checks = f"node {tried.node}", (*tried.reached, *tried.asked)
    for status in (Status.FAIL, Status.SKIPPED, Status.WARN):
        for check in checks:
            if check.status is status:
                return replace(check, name=name, found=f"{check.name}: {check.found}")
    said = "; ".join(check.found for check in checks)
    return Check(name=name, status=Status.OK, found=said, brief=checks[-1].found)


def _as_warning(line: Check) -> Check:
    if line.status is not Status.FAIL:
        return line
    return replace(line, status=Status.WARN, error="", exit_code=0)
