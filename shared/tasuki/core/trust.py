"""The nouns of trust: who is a member, what is signed, and what is sealed. Values only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tasuki.core.model import MOST, Kind, Task, TurnId, WeightsRef, check_name

AUTHORITY = "authority"
"""Who signs rosters. No member can have this name."""

MOST_KEYS = 8
"""A message is sealed for so many cards of its reader, who tries each key: that takes time."""


class Must(StrEnum):
    """What a service takes nothing without."""

    SIGNED = "signed"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A message, and who says so. All of it is covered by the signature.

    Attributes:
        kind: the type of the message inside.
        by: a member's name, or `AUTHORITY`.
        about: the hash of its run's first row, so that nothing of another run of this name can
            take its place; empty if it is about none.
        at: when it was signed, in seconds since 1970.
        body: the message, encoded.
    """

    kind: str
    by: str
    about: str = ""
    at: float = 0.0
    body: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A message that one member alone can read.

    Attributes:
        kind: the type of the message inside; `signed` of one that is signed.
        by, to: members' names.
        keys: the message's own key, wrapped for each card of the one that it is to.
        data: the message, encoded and sealed.
    """

    kind: str
    by: str
    to: str
    keys: tuple[bytes, ...]
    data: bytes

    def __post_init__(self) -> None:
        if len(self.keys) > MOST_KEYS:
            raise ValueError(f"a message is sealed for {MOST_KEYS} cards at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class Warrant:
    """What the controller says of a turn that it gives out, for every site on its way.

    Attributes:
        id, itinerary, weights, task, kind, split, merged: of the turn as it was given out.
        before: the digests of the records that it was given out with.
        began: when its run was submitted, in seconds since 1970.
        roster: the number of the roster that the controller went by.
    """

    id: TurnId
    itinerary: tuple[str, ...]
    weights: WeightsRef
    task: Task
    kind: Kind = Kind.TRAIN
    split: str = ""
    merged: bool = False
    before: tuple[str, ...] = ()
    began: float = 0.0
    roster: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Which of several runs that had the same name, one after the other.

    Attributes:
        about: the hash of its first row; empty if nobody has signed what is known of it.
        began: when it was submitted, in seconds since 1970; 0: no turn has told yet.
    """

    about: str = ""
    began: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What opens a sealed transfer: its key, wrapped for each who may open it.

    Attributes:
        transfer: the transfer's id.
        step: the bytes of weights in each of its pieces but the last.
        keys: for whom, and the wrapped key; a member with two cards is there twice.
    """

    transfer: bytes
    weights: WeightsRef
    step: int
    keys: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A member's public keys. Times are whole seconds since 1970.

    Attributes:
        signs: a P-256 point, uncompressed: 65 bytes.
        unseals: an X25519 key: 32 bytes.
        revoked: since when nothing of it is good any more; None: it is.
    """

    name: str
    signs: bytes
    unseals: bytes
    begins: int
    ends: int
    revoked: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name, what="member")
        if self.name == AUTHORITY:
            raise ValueError(f"no member can be called {AUTHORITY!r}")
        if (len(self.signs), len(self.unseals)) != (65, 32):
            raise ValueError("a card has a P-256 point of 65 bytes and an X25519 key of 32")
        if not 0 <= self.begins <= self.ends <= MOST:
            raise ValueError("a card ends after it begins")

    @property
    def ends_at(self) -> int:
        """From when on nothing of it is good any more."""
        return self.ends if self.revoked is None else min(self.ends, self.revoked)

    def is_good(self, at: float) -> bool:
        """Whether what it signs then counts."""
        return self.begins <= at < self.ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Who is a member of a federation, as its authority says. Times are whole seconds since 1970.

    A member has two cards while it changes its keys. Cards that were revoked stay, so that what
    they signed before can still be proved.

    Attributes:
        number: only ever grows; of two rosters the higher one counts.
    """

    federation: str
    number: int
    issued: int
    ends: int
    cards: tuple[Card, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.federation, what="federation")
        if not 0 < self.number <= MOST or not 0 <= self.issued <= self.ends <= MOST:
            raise ValueError("a roster has a number from 1 on, and ends after it was issued")

    def cards_of(self, name: str, *, at: float | None = None) -> tuple[Card, ...]:
        """A member's cards, the newest last; `at`: those that are good then."""
        found = [card for card in self.cards if card.name == name]
        good = (card for card in found if at is None or card.is_good(at))
        return tuple(sorted(good, key=lambda card: card.begins))

    def cards_now(self, name: str, *, now: float) -> tuple[Card, ...]:
        """A member's cards that count now; none that was revoked does, whatever our clock says."""
        return tuple(card for card in self.cards_of(name, at=now) if card.revoked is None)

    def members(self, *, at: float) -> tuple[str, ...]:
        """Who has a card that is good then, by name."""
        return tuple(sorted({card.name for card in self.cards if card.is_good(at)}))

    def with_cards(self, cards: Iterable[Card], *, issued: int, ends: int) -> Roster:
        """The next one, of these cards."""
        return Roster(
            federation=self.federation,
            number=self.number + 1,
            issued=issued,
            ends=ends,
            cards=tuple(sorted(cards, key=lambda card: (card.name, card.begins))),
        )
