"""What the adapter has to be told."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

import pika

from tasuki.broker.nodes import PORTS, Node, node_of
from tasuki.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class AmqpSettings:
    """One identity on one broker.

    Attributes:
        passwords: all that there are now, the first of which is tried first: while one is being
            changed, nobody here knows which of them the broker has.
        nodes: of the broker; a connection that is lost is made again to the next one.
        tls: how to verify the broker; None speaks plain text.
        heartbeat_s: a silent connection is given up after twice this and ten seconds more.
        window_bytes: how much may be sent and not confirmed, over all messages together.
        patience_s: how long `open` tries to connect and `close` waits for what is under way.
        backoff_first_s: the longest pause before the first new attempt; it doubles ...
        backoff_most_s: ... up to this.
        recovery_s: how long after connecting "no route" is not believed: a broker that was
            restarted takes connections some seconds before all of its streams can be written to.
        answer_s: how long a connection attempt may take, and how long the broker may owe an answer
            before its connection is given up.
        is_fast: whether to send and receive bodies past pika's copies where that is safe.
    """

    nodes: tuple[Node, ...]
    vhost: str = "/"
    user: str
    password: str = field(repr=False)
    passwords: Callable[[], tuple[str, ...]] = field(default=tuple, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    heartbeat_s: int = 10
    window_bytes: int = 32 * 2**20
    patience_s: float = 30.0
    backoff_first_s: float = 0.2
    backoff_most_s: float = 15.0
    recovery_s: float = 15.0
    answer_s: float = 15.0
    is_fast: bool = True

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        password: str | None = None,
        passwords: Callable[[], tuple[str, ...]] = tuple,
        tls: ssl.SSLContext | None = None,
        nodes: tuple[Node, ...] = (),
    ) -> Self:
        """Settings from `amqp[s]://user[:password]@host[:port]/vhost`.

        Args:
            password: wins over the url's.
            nodes: where to connect to instead of the url's host.

        Raises:
            SettingsError: it is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or not parts.username:
            raise SettingsError("broker url: use amqp[s]://user@host[:port]/vhost")
        if parts.scheme == "amqps" and tls is None:
            tls = ssl.create_default_context()
        return cls(
            nodes=nodes or (_node_in(parts),),
            vhost=unquote(parts.path[1:]) or "/",
            user=unquote(parts.username),
            password=password if password is not None else unquote(parts.password or ""),
            passwords=passwords,
            tls=tls if parts.scheme == "amqps" else None,
        )

    def candidates(self) -> tuple[str, ...]:
        """The passwords to try, one after the other. Reads them anew."""
        return self.passwords() or (self.password,)

    def parameters(
        self, node: Node, *, name: str, password: str | None = None
    ) -> pika.ConnectionParameters:
        """The same in pika's words; `name` is what the broker's operator sees.

        Args:
            password: which of the candidates; None: the first.
        """
        return pika.ConnectionParameters(
            host=node.host,
            port=node.port,
            virtual_host=self.vhost,
            credentials=pika.PlainCredentials(self.user, password or self.password),
            ssl_options=pika.SSLOptions(self.tls, node.host) if self.tls else None,
            heartbeat=self.heartbeat_s,
            # We make connections again ourselves, with jitter.
            connection_attempts=1,
            socket_timeout=self.answer_s,
            stack_timeout=self.answer_s,
            client_properties={"connection_name": name},
        )


def _node_in(parts: SplitResult) -> Node:
    try:
        return node_of(parts.netloc.rpartition("@")[2], scheme=parts.scheme)
    except ValueError as exc:
        raise SettingsError(f"broker url: {exc}") from exc
