"""A service's connection to RabbitMQ as its settings say, and whether it is up just now."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from tasuki.ports import OnSent
from tasuki.settings.broker import BrokerTable
from tasuki.transport.amqp import AmqpSettings, AmqpTransport, LinkState, StateChange
from tasuki.transport.outages import Outages

log = structlog.get_logger()

_LOST = {LinkState.DOWN, LinkState.SILENT, LinkState.REFUSED}
_HEARS = {LinkState.UP, LinkState.UNBLOCKED}
_DEAF = {*_LOST, LinkState.BLOCKED}


class BrokerConnection:
    """The transport of one service; its changes are logged.

    Raises:
        SettingsError: the password or the certificates cannot be read.
    """

    def __init__(self, table: BrokerTable, *, on_sent: OnSent | None = None) -> None:
        settings = AmqpSettings.from_url(
            table.url, password=table.password(), tls=table.tls(), nodes=table.nodes
        )
        settings = replace(
            settings,
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
        self._outages = Outages()
        self._up: dict[str, bool] = {}
        self._hearing: dict[str, float | None] = {}
        self._refused, self._taken = asyncio.Event(), asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether both of its connections are open."""
        return len(self._up) > 1 and all(self._up.values())

    @property
    def hears_since(self) -> float | None:
        """The event loop's time from which others could reach us without a break, if they can.

        A broker that is short of memory or disk takes nothing from them either.
        """
        both = list(self._hearing.values())
        known = [since for since in both if since is not None]
        return max(known) if len(both) > 1 and len(known) == len(both) else None

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
        if change.state is LinkState.REFUSED:
            self._refused.set()
            self._taken.clear()
        if change.state is LinkState.UP:
            self._refused.clear()
            self._taken.set()
            self._up[change.link] = True
        elif change.state in _LOST:
            self._up[change.link] = False
        if change.state in _HEARS:
            self._hearing[change.link] = asyncio.get_running_loop().time()
        elif change.state in _DEAF:
            self._hearing[change.link] = None
        for line in self._outages.note(change, now=asyncio.get_running_loop().time()):
            (log.warning if line.is_warning else log.info)(line.event, **line.facts)
