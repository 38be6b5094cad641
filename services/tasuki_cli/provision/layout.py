"""How the folders and files of a federation's kits are called."""

from __future__ import annotations

from dataclasses import dataclass

from tasuki.settings.federation import BROKER

AUTHORITY = "ca"
"""The folder of the federation's own authority; it stays with whoever provisions."""
REVOKED = "revoked"

ENROLLED = "enrolled"
"""What the authority keeps of those who made their keys themselves."""
ROSTERS = "rosters"
"""All rosters of the authority's folder; the newest is beside them."""
ROSTER = "roster.pem"
SEAL_KEY = "seal.key"

PASSWORD = "password"  # noqa: S105 - a file's name
TOKEN = "token"  # noqa: S105 - a file's name
CA = "ca.pem"
SIGNER = "authority.pem"
"""The federation's authority, where `ca.pem` is another one's."""
CRL = "crl.pem"
BROKER_LISTS = "crl"
"""Where the broker looks for lists of revoked certificates, each time someone connects."""
SITE = "site.toml"
CONTROLLER_SETTINGS = "controller.toml"
COMPOSE = "compose.yaml"
COOKIE = "state/.erlang.cookie"
"""What the nodes of a broker know each other by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNames:
    """What a certificate and its private key are called."""

    certificate: str
    key: str


AUTHORITY_PAIR = PairNames(certificate=CA, key="ca.key")
CLIENT = PairNames(certificate="client.pem", key="client.key")
SERVER = PairNames(certificate="server.pem", key="server.key")


def pair_of(user: str) -> PairNames:
    return SERVER if user == BROKER else CLIENT
