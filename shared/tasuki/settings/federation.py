"""federation.toml: which sites share which broker. Read by `tasuki provision` alone."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from tasuki.core.model import CONTROLLER, check_name
from tasuki.settings.toml import Settings, SettingsPath
from tasuki.transport.topology import Sizes

OPERATOR = "operator"
BROKER = "broker"
RESERVED = (CONTROLLER, OPERATOR, BROKER)
"""Folders beside those of the sites; two of them are users of the broker too."""

_PORTS = {"amqp": 5672, "amqps": 5671}


def check_management(url: str) -> None:
    """Raises ValueError: this is no management API's address, or has a password in it."""
    parts = urlsplit(url)
    if parts.password is not None or parts.username is not None:
        raise ValueError("leave user and password out: give --admin and --admin-password-file")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("use http[s]://host[:port]")


class FederationBrokerTable(Settings):
    """Where sites find the broker, and where its management API is for `--apply`.

    `ca`: certificates that sites trust instead of the system's; each kit gets a copy.
    """

    host: str = Field(default="localhost", pattern=r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$")
    port: int | None = Field(default=None, ge=1, le=65535)
    scheme: Literal["amqp", "amqps"] = "amqp"
    ca: SettingsPath | None = None
    management: str = "http://localhost:15672"

    @field_validator("management")
    @classmethod
    def _plain_url(cls, url: str) -> str:
        check_management(url)
        return url

    @model_validator(mode="after")
    def _ca_is_used(self) -> FederationBrokerTable:
        if self.ca is not None and self.scheme != "amqps":
            raise ValueError('a ca without scheme = "amqps" would protect nothing')
        return self

    def url(self, user: str, *, vhost: str) -> str:
        """How one user reaches the vhost; without a password."""
        port = self.port or _PORTS[self.scheme]
        return f"{self.scheme}://{user}@{self.host}:{port}/{vhost}"


class StreamsTable(Settings):
    """What the broker keeps of each site's incoming weights.

    `max_bytes`: at least three transfers of the largest run. `segment_bytes`: what a stream drops
    at a time when it has too much.
    """

    max_bytes: int = Field(default=Sizes().stream_bytes, ge=2**20)
    segment_bytes: int = Field(default=Sizes().segment_bytes, ge=2**20)

    @model_validator(mode="after")
    def _several_segments(self) -> StreamsTable:
        if self.max_bytes < 2 * self.segment_bytes:
            raise ValueError("max_bytes has to be at least twice segment_bytes")
        return self


class FederationFile(Settings):
    """One federation. `name` is its vhost; a site's name is its user."""

    name: str
    sites: list[str] = Field(min_length=1)
    broker: FederationBrokerTable = FederationBrokerTable()
    streams: StreamsTable = StreamsTable()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        check_name(name, what="federation")
        return name

    @field_validator("sites")
    @classmethod
    def _plain_sites(cls, sites: list[str]) -> list[str]:
        for site in sites:
            check_name(site, what="site")
            if site in RESERVED:
                raise ValueError(f"no site can be called {site!r}")
            if sites.count(site) > 1:
                raise ValueError(f"site {site!r} is listed twice")
        return sites

    def sizes(self) -> Sizes:
        return Sizes(stream_bytes=self.streams.max_bytes, segment_bytes=self.streams.segment_bytes)

    def url(self, user: str) -> str:
        return self.broker.url(user, vhost=self.name)
