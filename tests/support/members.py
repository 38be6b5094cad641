"""Members of a federation with keys, as provisioning would have made them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tasuki.core.trust import Card, Must, Roster
from tasuki.disk.writing import PRIVATE, write_whole
from tasuki.trust.member import Keys, Member
from tasuki.trust.rosters import Rosters, issue, write_issued
from tasuki.trust.sealing import SealingKey
from tasuki.trust.signing import SigningKey, public_key

DAY = 86400
NOW = 1_800_000_000.0


EVERYTHING = ("signed", "sealed")
"""What provisioned federations require of each other, and those of `tests/faults` too."""

REQUIRED = tuple(os.environ.get("TASUKI_TEST_REQUIRE", "").split())
"""The same of other federations of processes: `signed`, or `signed sealed`, or nothing."""

SECURITY = """
[security]
authority = "authority.pem"
roster = "roster.pem"
key = "{name}.sign.key"
seal_key = "{name}.seal.key"
require = {require}
"""


def security(name: str, require: Sequence[str]) -> str:
    """The table of a service's settings."""
    return SECURITY.format(name=name, require=json.dumps(list(require)))


def certificate(authority: SigningKey) -> bytes:
    """The authority's own, as a kit has it."""
    key = serialization.load_pem_private_key(authority.pem(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the authority")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=400))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


@dataclass
class Signatory:
    """A federation's authority and its members' keys."""

    federation: str = "lab"
    authority: SigningKey = field(default_factory=SigningKey.new)
    keys: dict[str, tuple[SigningKey, SealingKey]] = field(default_factory=dict)
    now: float = NOW

    def card(self, name: str, *, begins: float | None = None, revoked: int | None = None) -> Card:
        """A member's card; its keys are made when it is asked for first."""
        if name not in self.keys:
            self.keys[name] = (SigningKey.new(), SealingKey.new())
        signing, sealing = self.keys[name]
        return Card(
            name=name,
            signs=signing.public,
            unseals=sealing.public,
            begins=int(self.now - DAY if begins is None else begins),
            ends=int(self.now + 400 * DAY),
            revoked=revoked,
        )

    def roster(self, names: Iterable[str], *, number: int = 1, days: int = 365) -> bytes:
        """Of these members, as it travels."""
        return self.roster_of([self.card(name) for name in names], number=number, days=days)

    def roster_of(self, cards: Iterable[Card], *, number: int = 1, days: int = 365) -> bytes:
        issued = int(self.now) - DAY
        roster = Roster(
            federation=self.federation,
            number=number,
            issued=issued,
            ends=int(self.now) + days * DAY,
            cards=tuple(cards),
        )
        return issue(roster, self.authority)

    def stranger(self, name: str) -> Member:
        """Somebody of this name in a federation that is just as this one, of another authority."""
        return self.member(name, self.roster([name]))

    def write(self, folder: Path, names: Sequence[str]) -> None:
        """The files that the settings of these members name."""
        (folder / "authority.pem").write_bytes(certificate(self.authority))
        write_issued(folder / "roster.pem", self.roster(names))
        for name in names:
            signing, sealing = self.keys[name]
            write_whole(folder / f"{name}.sign.key", signing.pem(), mode=PRIVATE)
            write_whole(folder / f"{name}.seal.key", sealing.pem(), mode=PRIVATE)

    def member(
        self,
        name: str,
        roster: bytes,
        *,
        require: Collection[Must] = (Must.SIGNED, Must.SEALED),
        folder: Path | None = None,
        now: Callable[[], float] | None = None,
    ) -> Member:
        """One of them, with the keys of its card."""
        time = now or (lambda: self.now)
        rosters = Rosters(public_key(self.authority.public), now=time, folder=folder)
        rosters.take(roster)
        signing, sealing = self.keys[name]
        keys = Keys(signing=signing, sealing=sealing, rosters=rosters)
        return Member(name, keys=keys, require=require, now=time)
