"""The roster that a service goes by: signed by the federation's authority, and never an older one.

Whoever brings it proves nothing by that: each service checks it itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tasuki.core.trust import AUTHORITY, Roster, Signed
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import PUBLIC, write_whole
from tasuki.errors import MessageError, SettingsError
from tasuki.ports import Buffer
from tasuki.trust.armor import armored, unarmored
from tasuki.trust.signing import PublicKey, SigningKey, is_signed_by, public_key
from tasuki.wire.messages import decode, enclose, encode, signed_in

WHAT = "ROSTER"
KEPT = "roster.pem"
"""The newest roster in a service's folder."""

OLD, ENDED, FOREIGN = "old_roster", "roster_ended", "foreign_roster"
"""Why a roster is refused."""


def issue(roster: Roster, key: SigningKey) -> bytes:
    """A roster as it travels: signed by the authority."""
    signed = Signed(
        kind="roster",
        by=AUTHORITY,
        at=float(roster.issued),
        body=encode(roster),
        signature=b"",
    )
    return enclose(key.sign(signed, federation=roster.federation))


def verified(issued: Buffer, authority: PublicKey) -> Roster:
    """The roster in these bytes, be it old or ended.

    Raises:
        MessageError: it is none, or not of this authority.
    """
    signed = signed_in(issued)
    if signed is None or signed.kind != "roster":
        raise MessageError("this is no signed roster", reason=FOREIGN)
    roster = decode(signed.body, Roster)
    is_ours = signed.by == AUTHORITY
    if not (is_ours and is_signed_by(signed, authority, federation=roster.federation)):
        raise MessageError(
            f"roster {roster.number} of {roster.federation} is not signed by our authority",
            reason=FOREIGN,
        )
    return roster


def is_signed(signed: Signed, roster: Roster, *, at: float) -> bool:
    """Whether a member of the name that a message says has signed it with a card good then."""
    return any(
        is_signed_by(signed, public_key(card.signs), federation=roster.federation)
        for card in roster.cards_of(signed.by, at=at)
    )


def authority_in(path: Path) -> PublicKey:
    """The authority's key, of its certificate.

    Raises:
        SettingsError: there is no certificate of a P-256 key in it.
    """
    try:
        with disk_errors(path):
            key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
    except ValueError as exc:
        raise SettingsError(f"{path} is no PEM certificate: take the kit's ca.pem") from exc
    if not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"):
        raise SettingsError(f"{path} has no P-256 key, so it is no authority of ours")
    return key


def read_issued(path: Path) -> bytes:
    """What a roster's file holds, as it travels; nothing is proved by that.

    Raises:
        SettingsError: there is no roster in it.
        StorageError: it cannot be read.
    """
    with disk_errors(path):
        text = path.read_bytes()
    try:
        return unarmored(text, what=WHAT)
    except ValueError as exc:
        raise SettingsError(f"{path}: {exc}") from exc


def write_issued(path: Path, issued: bytes) -> None:
    write_whole(path, armored(issued, what=WHAT), mode=PUBLIC)


class Rosters:
    """The newest roster that a service has seen.

    Args:
        now: the time, in seconds since 1970.
        folder: where the newest is kept over a restart; None: nowhere.
    """

    def __init__(
        self, authority: PublicKey, *, now: Callable[[], float], folder: Path | None = None
    ) -> None:
        self._authority = authority
        self._now = now
        self._kept = None if folder is None else folder / KEPT
        self._newest: Roster | None = None
        self.issued = b""  # as it travels
        if self._kept is not None and self._kept.exists():
            self._take(read_issued(self._kept))

    @property
    def newest(self) -> Roster:
        """The one to go by.

        Raises:
            MessageError: there is none, or it has ended.
        """
        if self._newest is None:
            raise MessageError("there is no roster here yet", reason=ENDED)
        if self._newest.ends <= self._now():
            raise MessageError(
                f"roster {self._newest.number} has ended: have the authority issue the next one",
                reason=ENDED,
            )
        return self._newest

    @property
    def last(self) -> Roster | None:
        """The newest one, be it ended."""
        return self._newest

    @property
    def number(self) -> int:
        """Of the newest; 0: there is none."""
        return 0 if self._newest is None else self._newest.number

    def take(self, issued: Buffer) -> bool:
        """Go by this roster from now on; False: we do so already.

        Raises:
            MessageError: it is older than ours, has ended, or is of another authority.
            StorageError: it cannot be kept; it counts all the same.
        """
        if bytes(issued) == self.issued:
            return False
        roster = verified(issued, self._authority)
        if roster.ends <= self._now():
            raise MessageError(f"roster {roster.number} has ended", reason=ENDED)
        if self._newest is not None and roster.federation != self._newest.federation:
            raise MessageError(
                f"roster {roster.number} is of {roster.federation}, not of "
                f"{self._newest.federation}",
                reason=FOREIGN,
            )
        if roster.number <= self.number:
            raise MessageError(
                f"roster {roster.number} is not newer than {self.number}", reason=OLD
            )
        self._take(bytes(issued))
        if self._kept is not None:
            write_issued(self._kept, self.issued)
        return True

    def _take(self, issued: bytes) -> None:
        self._newest, self.issued = verified(issued, self._authority), issued

    def signer(self, signed: Signed, *, at: float | None = None) -> bool:
        """Whether a member of the name that a message says has signed it.

        Args:
            at: its card was good then; None: it is now.
        """
        roster = self.newest if at is None else self._newest
        return roster is not None and is_signed(
            signed, roster, at=self._now() if at is None else at
        )
