"""Messages and pieces of weights as the broker's owner would like them: altered, or made up."""

from __future__ import annotations

import random
import struct
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack

from support.attacker import NAME, Letter
from support.hostile import WAYS
from support.members import Signatory
from support.transfers import digested
from tasuki.core.control import FenceRaised, RosterIssued, RunEnded
from tasuki.core.model import CONTROLLER, Task, Turn, TurnId, TurnRecord
from tasuki.core.report import (
    RoundDone,
    SiteBeat,
    SiteMeasured,
    SiteStarted,
    TurnAbandoned,
    TurnDone,
    TurnProgressed,
    TurnRefused,
    TurnTaken,
)
from tasuki.core.trust import Warrant
from tasuki.trust.member import Keys, Member
from tasuki.trust.rosters import Rosters
from tasuki.trust.sealing import SealingKey
from tasuki.trust.signing import SigningKey, public_key
from tasuki.weights.chunks import ChunkedFile, decode_chunk, transfer_id
from tasuki.wire.messages import encode

HEADER_BYTES = 76
Way = Callable[[Letter], Letter | None]
"""Of a letter, another one that nobody may believe; None: this one cannot be altered so."""


class Imposter:
    """Knows all that is public: every roster, every name, every form. Has keys of his own alone."""

    def __init__(self, signatory: Signatory, roster: bytes) -> None:
        self._signatory = signatory
        self._roster = roster
        self._members: dict[str, Member] = {}

    def member(self, name: str) -> Member:
        """Who he says he is: he signs as that, and seals for whom he likes."""
        if name not in self._members:
            rosters = Rosters(
                public_key(self._signatory.authority.public), now=lambda: self._signatory.now
            )
            rosters.take(self._roster)
            keys = Keys(signing=SigningKey.new(), sealing=SealingKey.new(), rosters=rosters)
            self._members[name] = Member(name, keys=keys, now=lambda: self._signatory.now)
        return self._members[name]

    def roster(self, number: int) -> bytes:
        """Of an authority that is not ours."""
        other = Signatory(federation=self._signatory.federation, now=self._signatory.now)
        return other.roster((CONTROLLER, NAME), number=number)


class Altering:
    """A tampering: before each letter goes on, so many altered ones go to its reader.

    Args:
        many: for a letter of each kind of queue.
        most: of each kind in all; sites beat, so that a slow machine would see no end of reports.
        imposter: None: where nobody signs, so that there is nobody to pose as.

    Attributes:
        sent: the altered letters.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        many: Mapping[str, int],
        most: int,
        imposter: Imposter,
        run: str,
    ) -> None:
        self.sent: list[Letter] = []
        self._rng = rng
        self._many = many
        self._left = dict.fromkeys(many, most)
        self._imposter = imposter
        self._run = run
        self._seen: dict[str, list[Letter]] = defaultdict(list)

    def __call__(self, letter: Letter) -> Iterator[Letter]:
        count = min(self._many[letter.kind], self._left[letter.kind])
        self._left[letter.kind] -= count
        for _ in range(count):
            yield self.altered(letter)
        self._seen[letter.kind].append(letter)
        yield letter

    def altered(self, letter: Letter) -> Letter:
        """One that is not as anybody ever sent it."""
        ways = self._pieces() if letter.kind == "weights" else self._messages()
        while True:
            other = self._rng.choice(ways)(letter)
            if other is not None and other not in self._seen[letter.kind] and other != letter:
                self.sent.append(other)
                return other

    def _messages(self) -> tuple[Way, ...]:
        return (
            self._spoil, self._spoil, self._spoil, self._lengthen, self._splice, self._another_key,
            self._as_another, self._to_another, self._pose, self._in_plain,
        )  # fmt: skip

    def _pieces(self) -> tuple[Way, ...]:
        return (
            self._flip, self._flip, self._cut, self._lengthen, self._header_of_another,
            self._as_another, self._to_another, self._renumber, self._downgrade,
            self._pose_as_sender,
        )  # fmt: skip

    # Of messages.

    def _spoil(self, letter: Letter) -> Letter | None:
        body = self._rng.choice(WAYS)(self._rng, letter.body)
        says_nothing = letter.kind == "control" and _means_the_same(body, letter.body)
        return None if says_nothing else replace(letter, body=body)

    def _lengthen(self, letter: Letter) -> Letter:
        return replace(letter, body=letter.body + self._rng.randbytes(self._rng.randint(1, 40)))

    def _splice(self, letter: Letter) -> Letter | None:
        """Put together anew of two that were truly sent."""
        others = [each for each in self._seen[letter.kind] if each.body != letter.body]
        if not others:
            return None
        content: Any = msgpack.unpackb(letter.body)  # Any: a map of anything
        other: Any = msgpack.unpackb(self._rng.choice(others).body)
        keys = [key for key in content if key in other and content[key] != other[key]]
        if not keys or (len(keys) == 1 and keys[0] == "roster"):
            return None
        for key in self._rng.sample(keys, self._rng.randint(1, max(1, len(keys) - 1))):
            content[key] = other[key]
        return replace(letter, body=bytes(msgpack.packb(content)))

    def _another_key(self, letter: Letter) -> Letter | None:
        """The same, sealed for one more."""
        content: Any = msgpack.unpackb(letter.body)  # Any: a map of anything
        if "keys" not in content:
            return None
        content["keys"].append(self._rng.randbytes(80))
        return replace(letter, body=bytes(msgpack.packb(content)))

    def _as_another(self, letter: Letter) -> Letter | None:
        if letter.kind == "control" and _is_roster(letter.body):
            return None  # that is of its authority, whoever brings it
        names = {CONTROLLER, "site-1", "site-2", "site-3", NAME, ""} - {letter.sender}
        return replace(letter, sender=self._rng.choice(sorted(names)))

    def _to_another(self, letter: Letter) -> Letter | None:
        """Of what one reader alone may take."""
        if letter.kind not in {"turns", "weights"}:
            return None
        kind, reader = letter.queue.rsplit(".", 1)[0], letter.reader
        sites = sorted({"site-1", "site-2", "site-3"} - {reader})
        return replace(letter, queue=f"{kind}.{self._rng.choice(sites)}")

    def _pose(self, letter: Letter) -> Letter:
        """Made up, signed and sealed as it has to be, by keys that are nobody's."""
        member = self._imposter.member(letter.sender or CONTROLLER)
        body = self._made_up(letter, member)
        if letter.kind != "control":
            body = member.close(body, to=letter.reader)
        return replace(letter, body=body)

    def _in_plain(self, letter: Letter) -> Letter:
        """Made up, as it was before anybody signed or sealed anything."""
        return replace(letter, body=self._made_up(letter, Member(letter.sender)))

    def _made_up(self, letter: Letter, member: Member) -> bytes:
        make = {"turns": self._turn, "reports": self._report, "control": self._control}
        return make[letter.kind](letter, member)

    def _id(self) -> TurnId:
        rng = self._rng
        term = rng.choice([1, 2, 3, 2**40])
        return TurnId(run=self._run, term=term, round=rng.randint(0, 3), hop=0)

    def _record(self, site: str) -> TurnRecord:
        weights = digested(self._rng.randbytes(8))
        return TurnRecord(id=self._id(), site=site, received=weights.digest, sent=weights)

    def _turn(self, letter: Letter, member: Member) -> bytes:
        weights, task = digested(self._rng.randbytes(8)), Task(trainer="walk")
        turn = Turn(id=self._id(), itinerary=(letter.reader,), weights=weights, task=task)
        warrant = Warrant(id=turn.id, itinerary=turn.itinerary, weights=weights, task=task)
        if member.keys is None:
            return encode(turn)
        return encode(replace(turn, warrant=member.sign(warrant, about="f" * 64)))

    def _report(self, letter: Letter, member: Member) -> bytes:
        site, id = letter.sender, self._id()
        record = member.write(self._record(site), about="f" * 64)
        report = self._rng.choice(
            [
                SiteStarted(site=site, fresh=True, version="9"),
                SiteBeat(site=site),
                SiteMeasured(site=site, series={"x": 1.0}),
                TurnTaken(id=id, site=site),
                TurnProgressed(id=id, site=site, phase="training"),
                TurnDone(record=record, site=site),
                RoundDone(id=id, site=site, weights=record.sent, history=(record.written,)),
                TurnAbandoned(id=id, site=site, error="E", detail="made up"),
                TurnRefused(id=id, site=site, reason="stale_term"),
            ]
        )
        return member.sign(report, about="f" * 64)

    def _control(self, _: Letter, member: Member) -> bytes:
        if self._rng.random() < 0.3:
            return encode(RosterIssued(roster=self._imposter.roster(self._rng.randint(1, 9))))
        message = self._rng.choice(
            [
                FenceRaised(run=self._run, lane=0, term=2**40),
                RunEnded(run=self._run),
            ]
        )
        return member.sign(message, about="f" * 64)

    # Of pieces of weights.

    def _flip(self, letter: Letter) -> Letter:
        flipped = bytearray(letter.body)
        at = self._rng.choice(
            [self._rng.randrange(HEADER_BYTES), self._rng.randrange(len(flipped))]
        )
        flipped[at] ^= 1 << self._rng.randrange(8)
        return replace(letter, body=bytes(flipped))

    def _cut(self, letter: Letter) -> Letter:
        return replace(letter, body=letter.body[: self._rng.randrange(len(letter.body))])

    def _header_of_another(self, letter: Letter) -> Letter | None:
        """What was sealed of one transfer as a piece of another."""
        if not self._seen["weights"]:
            return None
        other = self._rng.choice(self._seen["weights"])
        return replace(letter, body=other.body[:HEADER_BYTES] + letter.body[HEADER_BYTES:])

    def _renumber(self, letter: Letter) -> Letter:
        """It belongs elsewhere, it says."""
        at = self._rng.randint(1, 2**20)
        body = letter.body[:28] + struct.pack(">Q", at) + letter.body[36:]
        return replace(letter, body=body)

    def _downgrade(self, letter: Letter) -> Letter | None:
        """Bytes of his choosing, not sealed, under the true transfer's name."""
        real = decode_chunk(letter.body)
        length = real.weights.size
        head = struct.pack(">4s16sQQI", b"TSK1", real.transfer, length, 0, length)
        body = head + letter.body[40:HEADER_BYTES] + self._rng.randbytes(length)
        return None if length > 2**20 else replace(letter, body=body)

    def _pose_as_sender(self, letter: Letter) -> Letter | None:
        """Weights of his choosing, sealed for their reader, by keys that are nobody's."""
        member = self._imposter.member(letter.sender)
        weights = digested(data := self._rng.randbytes(64))
        transfer = transfer_id(self._id(), weights)
        sealed = member.seal(transfer, weights, to=letter.reader, step=2**20)
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            path = Path(file.name)
            with ChunkedFile(path, transfer=transfer, weights=weights, sealed=sealed) as pieces:
                return replace(letter, body=b"".join(pieces[0]))


def _is_roster(body: bytes) -> bool:
    content: Any = msgpack.unpackb(body)  # Any: a map of anything
    return bool(content.get("type") == "RosterIssued")


def _means_the_same(body: bytes, real: bytes) -> bool:
    """A roster's own signature covers it alone: what is around it says nothing."""
    if not _is_roster(real):
        return False
    try:
        content: Any = msgpack.unpackb(body)  # Any: whatever that makes of it
        return bool(content["roster"] == msgpack.unpackb(real)["roster"])
    except (ValueError, TypeError, KeyError, msgpack.UnpackException):
        return False
