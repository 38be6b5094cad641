"""What the adapter has to be told."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

import pika

from tasuki.errors import SettingsError

_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True, kw_only=True)
class AmqpSettings:
    """One identity on one broker.

    Attributes:
        tls: how to verify the broker; None speaks plain text.
        heartbeat_s: a silent connection is given up after twice this and ten seconds more.
        window_bytes: how much may be sent and not confirmed, over all messages together.
        patience_s: how long `open` tries to connect and `close` waits for what is under way.
        backoff_first_s: the longest pause before the first new attempt; it doubles ...
        backoff_most_s: ... up to this.
        recovery_s: how long after connecting "no route" is not believed: a broker that was
            restarted takes connections some seconds before all of its streams can be written to.
        answer_s: how long a connection attempt may take.
        is_fast: whether to send and receive bodies past pika's copies where that is safe.
    """

    host: str
    port: int = 5672
    vhost: str = "/"
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    heartbeat_s: int = 30
    window_bytes: int = 32 * 2**20
    patience_s: float = 30.0
    backoff_first_s: float = 0.2
    backoff_most_s: float = 15.0
    recovery_s: float = 15.0
    answer_s: float = 15.0
    is_fast: bool = True

    @classmethod
    def from_url(
        cls, url: str, *, password: str | None = None, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Settings from `amqp[s]://user[:password]@host[:port]/vhost`; a password given wins.

        Raises:
            SettingsError: it is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or not parts.username:
            raise SettingsError("broker url: use amqp[s]://user@host[:port]/vhost")
        if parts.scheme == "amqps" and tls is None:
            tls = ssl.create_default_context()
        return cls(
            host=parts.hostname,
            port=parts.port or _PORTS[parts.scheme],
            vhost=unquote(parts.path[1:]) or "/",
            user=unquote(parts.username),
            password=password if password is not None else unquote(parts.password or ""),
            tls=tls if parts.scheme == "amqps" else None,
        )

    def parameters(self, *, name: str) -> pika.ConnectionParameters:
        """The same in pika's words; `name` is what the broker's operator sees."""
        return pika.ConnectionParameters(
            host=self.host,
            port=self.port,
            virtual_host=self.vhost,
            credentials=pika.PlainCredentials(self.user, self.password),
            ssl_options=pika.SSLOptions(self.tls, self.host) if self.tls else None,
            heartbeat=self.heartbeat_s,
            # We make connections again ourselves, with jitter.
            connection_attempts=1,
            socket_timeout=self.answer_s,
            stack_timeout=self.answer_s,
            client_properties={"connection_name": name},
        )
