"""A service's connection to RabbitMQ as its settings say, and whether it is up just now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from tasuki.broker.nodes import Node
from tasuki.ports import OnSent, Route
from tasuki.settings.broker import BrokerTable
from tasuki.transport.amqp import AmqpSettings, AmqpTransport, LinkState, StateChange
from tasuki.transport.amqp.probe import Probe
from tasuki.transport.amqp.publication import publishing
from tasuki.transport.outages import Outages

log = structlog.get_logger()

_LOST = {LinkState.DOWN, LinkState.SILENT, LinkState.REFUSED}
_CONSUMING = "consume"
_FRESH_S = 60.0
"""For how long a queue that refused something counts as one that does: it is tried more often."""


class BrokerConnection:
    """The transport of one service; its changes are logged.

    Raises:
        SettingsError: the password or the certificates cannot be read.
    """

    def __init__(self, table: BrokerTable, *, on_sent: OnSent | None = None) -> None:
        settings = replace(
            _settings(table, table.nodes),
            heartbeat_s=table.heartbeat_s,
            patience_s=table.patience_s,
            backoff_most_s=table.retry_s,
            answer_s=table.answer_s,
        )
        for path in table.secrets_of_all():
            log.warning(
                "everyone on this machine can read a secret: chmod it to 600", path=str(path)
            )
        self.transport = AmqpTransport(settings, on_state=self.note, on_sent=on_sent)
        self.on_held_up: Callable[[], None] = lambda: None
        self._outages = Outages()
        self._up: dict[str, bool] = {}
        self._hears_since: float | None = None  # be the way out broken or not
        self._lost = ""  # why the way in is, if it is
        self._blocked = ""  # why the broker takes nothing, as far as it said
        self._waits: dict[str, tuple[float, str]] = {}  # for what: when it was last told, and why
        self._refused, self._taken = asyncio.Event(), asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether both of its connections are open."""
        return len(self._up) > 1 and all(self._up.values())

    @property
    def hears_since(self) -> float | None:
        """The event loop's time from which others could reach us without a break, if they can.

        A broker that is short of memory or disk takes nothing from them either. Whether it is, only
        a connection that publishes is told; that one may be made anew meanwhile, since others'
        words come by the other.
        """
        return None if self._blocked or not self.is_up else self._hears_since

    @property
    def held_up(self) -> str:
        """Why nobody can come on or be heard; empty if that is not so."""
        if self._lost:
            return f"no connection to the broker: {self._lost}"
        return f"the broker takes nothing: {self._blocked}" if self._blocked else ""

    def refused(self, route: Route) -> str:
        """Why what is sent there now waits, as the broker says; empty if it does not wait."""
        told_at, reason = self._waits.get(publishing(route), (0.0, ""))
        return reason if asyncio.get_running_loop().time() - told_at < _FRESH_S else ""

    async def refuses(self, *, for_s: float) -> None:
        """Returns once the broker has not taken our credentials for so long, try after try.

        One that has just been started may refuse them until it has its users.
        """
        while True:
            await self._refused.wait()
            try:
                await asyncio.wait_for(self._taken.wait(), for_s)
            except TimeoutError:
                return

    def note(self, change: StateChange) -> None:
        """One of the two connections changed."""
        before = self.held_up
        self._take_in(change)
        if change.state is LinkState.REFUSED:
            self._refused.set()
            self._taken.clear()
        elif change.state is LinkState.UP:
            self._refused.clear()
            self._taken.set()
        for line in self._outages.note(change, now=asyncio.get_running_loop().time()):
            (log.warning if line.is_warning else log.info)(line.event, **line.facts)
        if before != self.held_up:
            self.on_held_up()

    def _take_in(self, change: StateChange) -> None:
        link, now = change.link, asyncio.get_running_loop().time()
        match change.state:
            case LinkState.UP:
                self._up[link] = True
                if link == _CONSUMING or self._blocked:
                    self._hears_since = now
                if link == _CONSUMING:
                    self._lost = ""
                else:
                    self._blocked = ""  # or it says so again
            case LinkState.WAITING:
                self._waits[change.what] = now, change.reason
            case LinkState.SERVED:
                self._waits.pop(change.what, None)
            case LinkState.UNBLOCKED:
                self._blocked, self._hears_since = "", now
            case LinkState.BLOCKED:
                self._blocked = change.reason or "it does not say why"
            case state if state in _LOST:
                self._up[link] = False
                if link == _CONSUMING:
                    self._lost = change.reason or "no answer"


def probe_of(table: BrokerTable, node: Node, *, name: str) -> Probe:
    """It reads the secrets when it connects."""
    return Probe(lambda: _settings(table, (node,)), name=name)


def _settings(table: BrokerTable, nodes: tuple[Node, ...]) -> AmqpSettings:
    return AmqpSettings.from_url(
        table.url,
        password=table.password(),
        passwords=table.passwords,
        tls=table.tls(),
        nodes=nodes,
    )
