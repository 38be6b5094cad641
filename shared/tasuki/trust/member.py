"""One member: what it says is signed, what it sends is sealed, and what it hears it checks.

A federation without a roster has members too: theirs sign nothing and believe their broker.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, TypeVar

import blake3

from tasuki.core.model import CONTROLLER, Turn, TurnRecord, WeightsRef
from tasuki.core.trust import (
    MOST_KEYS,
    Card,
    Must,
    Roster,
    Seal,
    Sealed,
    Signed,
    Submission,
    Warrant,
)
from tasuki.core.turn.proof import OTHER_RUN, before, why_not_whole
from tasuki.errors import CannotSeal, MessageError
from tasuki.ports import Buffer
from tasuki.trust.rosters import ENDED, Rosters
from tasuki.trust.rows import covered_by_row
from tasuki.trust.sealing import (
    Cipher,
    SealingKey,
    Sessions,
    context_of,
    message_context,
    new_key,
    recipients_of,
    with_keys,
)
from tasuki.trust.signing import SigningKey
from tasuki.wire.messages import (
    close,
    decode,
    enclose,
    encode,
    kind_in,
    kind_of,
    sealed_in,
    signed_in,
)

NOT_SIGNED, NOT_SEALED = "not_signed", "not_sealed"
BAD_SIGNATURE, BAD_SEAL = "bad_signature", "bad_seal"
UNPROVED, NEWER_ROSTER = "unproved", "newer_roster"
"""Why messages and transfers are refused, in a word."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said(Generic[T]):
    """A message and who said so.

    Attributes:
        by: who signed it; empty if nobody did.
        about: the hash of its run's first row; empty if it is about no run, or was not signed.
        at: when it was signed, by its sender's clock.
        proof: the message as it was signed; empty if it was not.
    """

    message: T
    by: str = ""
    about: str = ""
    at: float = 0.0
    proof: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A member's private keys, and its federation's roster.

    Attributes:
        others: what it unsealed with before, or will after a renewal: something may be under way
            that was sealed for these.
    """

    signing: SigningKey
    sealing: SealingKey
    rosters: Rosters
    others: tuple[SealingKey, ...] = ()

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """The content key; None if it was wrapped for none of ours."""
        for key in (self.sealing, *self.others):
            if (found := key.unwrap(wrapped, context)) is not None:
                return found
        return None


def submission_of(turn: Turn) -> Submission:
    """Which run of its name a turn is of, as its warrant says; that was checked when it came."""
    signed, warrant = _opened(turn.warrant) if turn.warrant else (None, None)
    if signed is None or warrant is None:
        return Submission()
    return Submission(about=signed.about, began=warrant.began)


@lru_cache(maxsize=64)
def _opened(warrant: bytes) -> tuple[Signed | None, Warrant]:
    """Each is asked for several times while a turn is here. Nothing is proved by it."""
    return signed_in(warrant), decode(warrant, Warrant)


def _newest(roster: Roster, name: str) -> tuple[Card, ...]:
    """A member's newest card, unless that was revoked."""
    return tuple(card for card in roster.cards_of(name)[-1:] if card.revoked is None)


def digest_of(written: bytes) -> str:
    """What a record is named by in a warrant."""
    return f"blake3:{blake3.blake3(written).hexdigest()}"


class Member:
    """A service as a member of its federation.

    Args:
        keys: None: it signs and seals nothing, and can check nothing.
        require: what it takes nothing without.
        now: the time, in seconds since 1970.
    """

    def __init__(
        self,
        name: str,
        *,
        keys: Keys | None = None,
        require: Collection[Must] = (),
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        if require and keys is None:
            raise ValueError("who requires signatures and seals has keys of its own")
        self.name = name
        self.keys = keys
        self.require = frozenset(require)
        self._now = now
        self._last = 0.0
        self._sessions = Sessions()

    @property
    def roster_number(self) -> int:
        """Of the roster that it goes by; 0: none."""
        return 0 if self.keys is None else self.keys.rosters.number

    # What it says.

    def sign(self, message: object, *, about: str = "") -> bytes:
        """A message as it travels, signed if this member has keys.

        Raises:
            MessageError: it has no form as a message.
        """
        body = encode(message)
        if self.keys is None:
            return body
        signed = Signed(
            kind=kind_of(message),
            by=self.name,
            about=about,
            at=self._later(),
            body=body,
            signature=b"",
        )
        return enclose(self.keys.signing.sign(signed, federation=self._federation))

    def write(self, record: TurnRecord, *, about: str) -> TurnRecord:
        """With its bytes, for good.

        Raises:
            MessageError: a value in it has no form as a message.
        """
        return replace(record, written=self.sign(record, about=about))

    def sign_row(self, hash: str) -> bytes:
        """A signature over a row of the ledger by its hash; empty if this member has no keys."""
        if self.keys is None:
            return b""
        return self.keys.signing.over(covered_by_row(hash, federation=self._federation))

    # What it hears.

    def read(self, body: Buffer, kinds: type[T] | tuple[type[T], ...], *, sender: str) -> Said[T]:
        """What somebody says.

        Args:
            sender: for whom the broker vouches, or whose it has to be.

        Raises:
            MessageError: it is no such message, is not signed and has to be, or not by its sender.
        """
        return self._said(signed_in(body), decode(body, kinds), body, sender=sender)

    def read_record(self, written: bytes) -> Said[TurnRecord]:
        """What a turn did, as the site that it names says; whoever brings it.

        Raises:
            MessageError: as `read`.
        """
        record = decode(written, TurnRecord)
        return self._said(signed_in(written), record, written, sender=record.site)

    def _said(self, signed: Signed | None, message: T, body: Buffer, *, sender: str) -> Said[T]:
        if signed is None:
            if Must.SIGNED in self.require:
                raise MessageError(
                    f"a {kind_of(message)} of {sender or 'somebody'} that nobody signed",
                    reason=NOT_SIGNED,
                )
            return Said(message=message)
        self._check(signed, sender=sender)
        return Said(
            message=message, by=signed.by, about=signed.about, at=signed.at, proof=bytes(body)
        )

    def check_turn(self, turn: Turn) -> str:
        """Whether the controller gave out this turn, and all before it is there and was signed.

        Returns the hash of its run's first row; empty if nobody signs here.

        Raises:
            MessageError: why it must not be taken; with the reason `NEWER_ROSTER` if that may be
                for a roster which has yet to come.
        """
        if not turn.warrant:
            if Must.SIGNED in self.require:
                raise MessageError(f"{turn.id} without a warrant", reason=NOT_SIGNED)
            return ""
        signed, warrant = _opened(turn.warrant)
        said = self._said(signed, warrant, turn.warrant, sender=CONTROLLER)
        if warrant.roster > self.roster_number and self.keys is not None:
            raise MessageError(
                f"{turn.id} goes by roster {warrant.roster}; here is {self.roster_number}",
                reason=NEWER_ROSTER,
            )
        count = max(0, before(turn, warrant))
        digests = [digest_of(record) for record in turn.history[:count]]
        since = [self._since(written, about=said.about) for written in turn.history[count:]]
        if why := why_not_whole(turn, warrant, digests=digests, since=since):
            raise MessageError(why, reason=UNPROVED)
        return said.about

    def _since(self, written: bytes, *, about: str) -> TurnRecord:
        """A record that came on the turn's way, signed by whose it is."""
        said = self.read_record(written)
        if said.about != about:
            run = said.message.id.run
            raise MessageError(f"a record of another run than {run}", reason=OTHER_RUN)
        return said.message

    # What it sends and gets.

    def seal(
        self, transfer: bytes, weights: WeightsRef, *, to: str, step: int
    ) -> tuple[bytes, Cipher] | None:
        """What begins a transfer to one member, and seals its pieces; the controller can read it.

        None: this member has no keys, or that one has none and this one does not insist.

        Raises:
            CannotSeal: there is nobody to seal it for, and it must be sealed.
        """
        if self.keys is None:
            return None
        try:
            roster, now = self.keys.rosters.newest, self._now()
        except MessageError as exc:
            raise CannotSeal(f"nothing can be sealed for {to}: {exc}", reason=exc.reason) from exc
        names = sorted({to, CONTROLLER})
        cards = [card for name in names for card in roster.cards_now(name, now=now)]
        if {card.name for card in cards} != set(names):
            if Must.SEALED in self.require:
                lacking = " and ".join(sorted(set(names) - {card.name for card in cards}))
                raise CannotSeal(
                    f"roster {roster.number} has no good card of {lacking}, for whom the weights "
                    "would be sealed: have the authority issue a roster that has one, or take the "
                    "site out of the run",
                    reason=NOT_SEALED,
                )
            return None
        context = self._context(self.name, names, transfer, weights)
        key = self.keys.sealing.content_key(context, step=step)
        seal = Seal(
            transfer=transfer,
            weights=weights,
            step=step,
            keys=self._sessions.wrap(key, context, cards),
        )
        return self.sign(seal), Cipher(key, context)

    def unseal(self, seal: Buffer, transfer: bytes, weights: WeightsRef, *, sender: str) -> Cipher:
        """What unseals the pieces of a transfer that began with this seal.

        Raises:
            MessageError: it is not of its sender, not for this transfer, or not for us.
        """
        if self.keys is None:
            raise MessageError(
                "weights that are sealed, and no key here: give [security] seal_key",
                reason=BAD_SEAL,
            )
        signed = signed_in(seal)
        found = decode(seal, Seal)
        if signed is None:
            raise MessageError("a seal that nobody signed", reason=BAD_SEAL)
        self._check(signed, sender=sender)
        if (found.transfer, found.weights) != (transfer, weights):
            raise MessageError("a seal of another transfer", reason=BAD_SEAL)
        context = self._context(sender, recipients_of(found), transfer, weights)
        for name, wrapped in found.keys:
            if name == self.name:
                key = self.keys.unwrap(wrapped, context)
                if key is not None:
                    return Cipher(key, context)
        raise MessageError("weights that are sealed for others", reason=BAD_SEAL)

    def close(self, body: bytes, *, to: str) -> bytes:
        """An encoded message, so that one member alone can read it; as it is without keys.

        A card or a roster that has ended does for that: a member that says so must be able to.

        Raises:
            CannotSeal: that member has no card, and it must be sealed.
        """
        roster = None if self.keys is None else self.keys.rosters.last
        if roster is None:
            return body
        cards = roster.cards_now(to, now=self._now()) or _newest(roster, to)
        if not cards:
            if Must.SEALED in self.require:
                raise CannotSeal(
                    f"roster {roster.number} has no good card of {to}, whom alone this is for: "
                    "have the authority issue a roster that has one",
                    reason=NOT_SEALED,
                )
            return body
        kind, key = kind_in(body), new_key()
        context = message_context(federation=self._federation, by=self.name, to=to, kind=kind)
        wrapped = self._sessions.wrap(key, context, cards[-MOST_KEYS:])
        keys = tuple(each for _, each in wrapped)
        data = Cipher(key, with_keys(context, keys)).seal(body, at=0, is_last=True)
        return close(Sealed(kind=kind, by=self.name, to=to, keys=keys, data=data))

    def open(self, body: Buffer, *, sender: str) -> Buffer:
        """The encoded message in one that was sealed for us; nothing is proved by that.

        Raises:
            MessageError: it is for somebody else, was altered, or is not sealed and has to be.
        """
        sealed = sealed_in(body)
        if sealed is None:
            self.check_plain(sender)
            return body
        if self.keys is None:
            raise MessageError("a sealed message, and no key here", reason=BAD_SEAL)
        context = message_context(
            federation=self._federation, by=sender, to=self.name, kind=sealed.kind
        )
        for wrapped in sealed.keys:
            if (key := self.keys.unwrap(wrapped, context)) is not None:
                cipher = Cipher(key, with_keys(context, sealed.keys))
                opened = cipher.unseal(sealed.data, at=0, is_last=True)
                if (sealed.by, sealed.to, sealed.kind) == (sender, self.name, kind_in(opened)):
                    return opened
        raise MessageError(
            f"a message of {sender or 'somebody'} that was sealed for others, or altered",
            reason=BAD_SEAL,
        )

    def check_plain(self, sender: str) -> None:
        """Raises MessageError: what comes has to be sealed, and this is not."""
        if Must.SEALED in self.require:
            raise MessageError(
                f"something of {sender or 'somebody'} that is not sealed", reason=NOT_SEALED
            )

    def _check(self, signed: Signed, *, sender: str) -> None:
        if signed.by != sender:
            raise MessageError(
                f"{sender or 'somebody'} sends what {signed.by[:64]!r} signed",
                reason="wrong_sender",
            )
        if self.keys is not None and not self.keys.rosters.signer(signed):
            raise MessageError(
                f"a {signed.kind} that {signed.by} has not signed with a key of roster "
                f"{self.keys.rosters.number}",
                reason=BAD_SIGNATURE,
            )

    def _context(
        self, sender: str, recipients: Collection[str], transfer: bytes, weights: WeightsRef
    ) -> bytes:
        return context_of(
            federation=self._federation,
            sender=sender,
            recipients=recipients,
            transfer=transfer,
            weights=weights,
        )

    @property
    def _federation(self) -> str:
        roster = None if self.keys is None else self.keys.rosters.last
        if roster is None:
            raise MessageError("there is no roster here yet", reason=ENDED)
        return roster.federation

    def _later(self) -> float:
        """The time; never the same twice, nor an earlier one."""
        self._last = max(self._now(), self._last + 1e-6)
        return self._last


NOBODY = Member("")
"""Who signs, seals and checks nothing: in a simulation, and in a federation without a roster."""
