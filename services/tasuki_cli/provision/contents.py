"""What the texts in a kit say: the gaps of its templates, of one federation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tasuki.core.model import CONTROLLER
from tasuki.settings.federation import FederationFile
from tasuki_cli.provision import files, nodes
from tasuki_cli.provision.layout import (
    CA,
    CLIENT,
    COMPOSE,
    CONTROLLER_SETTINGS,
    PASSWORD,
    ROSTER,
    SEAL_KEY,
    SIGNER,
    SITE,
)
from tasuki_cli.provision.texts import Gaps, render

FOLDERS = {"site": ("state", "trainers", "data"), CONTROLLER: ("state",)}


def texts_of(user: str) -> dict[str, str]:
    """The files of a service's kit that are no secrets, and their templates; its settings last."""
    kind = kind_of(user)
    return {
        ".env": "dotenv",
        COMPOSE: f"{kind}.compose.yaml",
        f"tasuki-{kind}.service": f"{kind}.service",
        "README.md": f"{kind}.md",
        settings_of(user): settings_of(user),
    }


def kind_of(user: str) -> str:
    return CONTROLLER if user == CONTROLLER else "site"


def settings_of(user: str) -> str:
    """The file of its settings."""
    return CONTROLLER_SETTINGS if user == CONTROLLER else SITE


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Of one federation's kits.

    Attributes:
        owner: whose the files are where containers run.
        has_ca: whether kits say whom to trust to be the broker.
        is_enrolled: whether those who have them made the keys themselves.
    """

    federation: FederationFile
    owner: files.Owner
    has_ca: bool
    is_enrolled: bool = False

    @property
    def signer(self) -> str:
        """The file that holds the authority who signs rosters."""
        return CA if self.federation.has_own_authority else SIGNER

    def gaps(self, user: str) -> Gaps:
        federation, broker = self.federation, self.federation.broker
        is_mutual = federation.has_own_authority
        encrypted = {True: " (TLS)", False: " (not encrypted)"}[broker.scheme == "amqps"]
        certificates = {True: "broker-mutual.md", False: "broker-tls.md"}[is_mutual]
        return {
            "name": user,
            "federation": federation.name,
            "one_connection": "TCP connections" if broker.nodes else "one TCP connection",
            "outgoing": "Outgoing TCP connections"
            if broker.nodes
            else "One outgoing TCP connection",
            "where": nodes.addresses(broker),
            "port": broker.port_number,
            "management_port": federation.management_port,
            "how": " (TLS, verified both ways)" if is_mutual else encrypted,
            "secret_keys": self._secret_keys(),
            "trust": self._trust(user),
            "stream_bytes": federation.streams.max_bytes,
            "broker_table": self._broker_table(user),
            "security_table": self.security_table(),
            "certificates": render(certificates, {}) if broker.scheme == "amqps" else "",
            "nodes": nodes.page(broker),
            "names": ", ".join(node.host for node in broker.nodes),
            "has_full_names": str(nodes.has_full_names(broker)).lower(),
            "uid": self.owner.uid,
            "gid": self.owner.gid,
        }

    def security_table(self) -> str:
        """With an empty line before it; nothing in a federation without a roster."""
        if not self.federation.has_roster:
            return ""
        return "\n" + _table(
            "security",
            {
                "authority": self.signer,
                "roster": ROSTER,
                "key": CLIENT.key,
                "seal_key": SEAL_KEY,
                "require": list(self.federation.security.require),
            },
        )

    def _broker_table(self, user: str) -> str:
        lines: dict[str, str | list[str]] = {"url": self.federation.url(user)}
        if self.federation.broker.nodes:
            lines["hosts"] = [str(node) for node in self.federation.broker.nodes]
        lines["password_file"] = PASSWORD
        if self.has_ca:
            lines["ca"] = CA
        if self.federation.has_own_authority:
            lines |= {"cert": CLIENT.certificate, "key": CLIENT.key}
        return _table("broker", lines)

    def _secret_keys(self) -> str:
        if self.federation.has_roster:
            return f", `{CLIENT.key}` and `{SEAL_KEY}`"
        return f" and `{CLIENT.key}`" if self.federation.has_own_authority else ""

    def _trust(self, user: str) -> str:
        if not self.federation.has_roster:
            return ""
        makers = "trust-enrolled.md" if self.is_enrolled else "trust-made.md"
        return render("trust.md", {"name": user, "makers": render(makers, {"name": user})})


def _table(name: str, lines: Mapping[str, str | list[str]]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {json.dumps(lines[key])}\n" for key in lines)
