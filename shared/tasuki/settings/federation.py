"""federation.toml: which sites share which broker. Read by `tasuki provision` alone."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tasuki.broker.nodes import PORTS, Node, node_of
from tasuki.broker.topology import Sizes
from tasuki.core.model import CONTROLLER, check_name
from tasuki.core.trust import AUTHORITY, Must
from tasuki.settings.address import check_http
from tasuki.settings.toml import Settings, SettingsPath

OPERATOR = "operator"
BROKER = "broker"
RESERVED = (CONTROLLER, OPERATOR, BROKER, AUTHORITY, "ca", "enrolled", "revoked")
"""Folders beside those of the sites, and names; two of them are users of the broker too."""

_HOST = r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$"


def check_management(url: str) -> None:
    """Raises ValueError: this is no management API's address, or has a password in it."""
    if "@" in url:
        raise ValueError("leave user and password out: give --admin and --admin-password-file")
    check_http(url)


class FederationBrokerTable(Settings):
    """Where sites find the broker, and where its management API is for `--apply`.

    `hosts`: the nodes of a broker that has several, each `host[:port]`; kits list them all, and
    `host` need not be given. `replicas`: on how many nodes each queue and stream is kept. `names`:
    further host names of the broker that its certificate holds. `ca`: certificates that sites trust
    instead of the system's, where the broker's certificate comes from an authority of your own;
    without it, and with amqps, the federation has its own authority and everyone a certificate.
    `management` of a broker from these files: https://localhost:15671.
    """

    host: str = Field(default="localhost", pattern=_HOST)
    hosts: list[str] = Field(default_factory=list)
    replicas: int = Field(default=Sizes().replicas, ge=1)
    names: list[Annotated[str, Field(pattern=_HOST)]] = Field(default_factory=list)
    port: int | None = Field(default=None, ge=1, le=65535)
    scheme: Literal["amqp", "amqps"] = "amqp"
    ca: SettingsPath | None = None
    management: str | None = None

    @field_validator("management")
    @classmethod
    def _plain_url(cls, url: str | None) -> str | None:
        if url is not None:
            check_management(url)
        return url

    @model_validator(mode="after")
    def _ca_is_used(self) -> FederationBrokerTable:
        if self.ca is not None and self.scheme != "amqps":
            raise ValueError('a ca without scheme = "amqps" would protect nothing')
        return self

    @model_validator(mode="after")
    def _hosts_are_nodes(self) -> FederationBrokerTable:
        nodes = self.nodes
        if twice := [str(node) for node in nodes if nodes.count(node) > 1]:
            raise ValueError(f"hosts names {twice[0]} twice")
        return self

    @property
    def port_number(self) -> int:
        return self.port or PORTS[self.scheme]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Those that are listed, as their clients reach them; none of a broker with one name."""
        return tuple(node_of(self._with_port(host), scheme=self.scheme) for host in self.hosts)

    @property
    def address(self) -> str:
        """The host and port in everyone's url; whoever has a list of nodes does not use it."""
        is_given = "host" in self.model_fields_set or not self.nodes
        return f"{self.host}:{self.port_number}" if is_given else str(self.nodes[0])

    @property
    def certified(self) -> list[str]:
        """What the broker's certificate is good for; its own machine always."""
        hosts = [address.rpartition(":")[0] for address in (self.address, *map(str, self.nodes))]
        return list(dict.fromkeys([*hosts, *self.names, "localhost", "127.0.0.1"]))

    def url(self, user: str, *, vhost: str) -> str:
        """How one user reaches the vhost; without a password."""
        return f"{self.scheme}://{user}@{self.address}/{vhost}"

    def _with_port(self, host: str) -> str:
        return host if ":" in host.rpartition("]")[2] else f"{host}:{self.port_number}"


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


class CertificatesTable(Settings):
    """The certificates of the federation's own authority.

    `make`: false has sites trust the system's authorities, as for a broker that has its certificate
    of a public one. `days`, `ca_days`: how long everyone's are good for, and the authority's.
    """

    make: bool = True
    days: int = Field(default=825, ge=1)
    ca_days: int = Field(default=3650, ge=1)

    @model_validator(mode="after")
    def _authority_lasts_longer(self) -> CertificatesTable:
        if self.ca_days < self.days:
            raise ValueError("ca_days has to be at least days: nothing outlives its authority")
        return self


class FederationSecurityTable(Settings):
    """Who the members are, and what they insist on.

    `require`: what kits have in their own [security]; with `[]` the federation has no roster, and
    everyone believes the broker. `kits`: false makes none: each member enrols itself.
    `roster_days`: how long a roster is good for; provisioning issues the next one in time.
    """

    require: list[Must] = Field(default_factory=lambda: [Must.SIGNED, Must.SEALED])
    kits: bool = True
    roster_days: int = Field(default=365, ge=31)

    @model_validator(mode="after")
    def _enrolled_have_a_roster(self) -> FederationSecurityTable:
        if not (self.kits or self.require):
            raise ValueError("kits = false without anything in require: who enrols has a card")
        return self


class FederationFile(Settings):
    """One federation. `name` is its vhost; a site's name is its user."""

    name: str
    sites: list[str] = Field(min_length=1)
    broker: FederationBrokerTable = FederationBrokerTable()
    certificates: CertificatesTable = CertificatesTable()
    streams: StreamsTable = StreamsTable()
    security: FederationSecurityTable = FederationSecurityTable()

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
        return Sizes(
            stream_bytes=self.streams.max_bytes,
            segment_bytes=self.streams.segment_bytes,
            replicas=self.broker.replicas,
        )

    def url(self, user: str) -> str:
        return self.broker.url(user, vhost=self.name)

    @property
    def has_own_authority(self) -> bool:
        """Whether `tasuki provision` makes the certificates too."""
        is_ours = self.broker.ca is None and self.certificates.make
        return self.broker.scheme == "amqps" and is_ours

    @property
    def has_roster(self) -> bool:
        return bool(self.security.require)

    @property
    def management_port(self) -> int:
        """Where a broker from these files has its management API."""
        return 15671 if self.has_own_authority else 15672

    @property
    def management_url(self) -> str:
        if self.broker.management is not None:
            return self.broker.management
        scheme = "https" if self.has_own_authority else "http"
        return f"{scheme}://localhost:{self.management_port}"
