"""Hostile messages from a seed, each with the reason for which it has to be refused."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import msgpack

from tasuki.core.control import FenceRaised, RunEnded
from tasuki.core.model import CONTROLLER, Turn
from tasuki.core.report import Report, TurnDone
from tasuki.errors import MessageError
from tasuki.ports import Route
from tasuki.weights.chunks import MAX_CHUNK_BYTES, decode_chunk
from tasuki.wire import names
from tasuki.wire.messages import MAX_BYTES, decode

EVIL = "site-4"
"""A site of the federation that takes part in no run."""
NOBODY = ""
UNREADABLE = frozenset({"undecodable", "oversized", "unknown_version", "unknown_type", "invalid"})
REPLAYED = "replayed"
"""Refused for one of several reasons that say it came too late."""
PENDING = "pending"
"""Weights that look well: kept for a while, and dropped once their sender has sent more."""

EXPECTED: dict[str, tuple[type, ...]] = {
    "turns": (Turn,),
    "reports": get_args(Report),
    "control": (FenceRaised, RunEnded),
}
_KIND = {
    names.TURNS: "turns",
    names.WEIGHTS: "weights",
    names.REPORTS: "reports",
    names.CONTROL: "control",
}


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message as it was caught on its way, or made up."""

    route: Route
    body: bytes
    sender: str

    @property
    def kind(self) -> str:
        return _KIND[self.route.exchange]

    @property
    def reader(self) -> str:
        """The service whose queue it goes to."""
        return self.route.key.removeprefix("site.")


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A hostile message and why it has to be refused."""

    message: Message
    reason: str

    @property
    def is_dead_letter(self) -> bool:
        return self.message.kind in {"turns", "reports"} and (
            self.reason in UNREADABLE
            or (self.message.kind == "reports" and self.reason != REPLAYED)
        )


def seed() -> int:
    """Printed, so that what was found can be found again: TASUKI_SEED=... repeats it."""
    chosen = int(os.environ.get("TASUKI_SEED", random.SystemRandom().randrange(2**32)))
    print(f"TASUKI_SEED={chosen}")  # noqa: T201 - shown when the test fails
    return chosen


def counted(shots: Sequence[Shot]) -> Counter[tuple[str, str, str]]:
    """How often (service, kind of queue, reason)."""
    return Counter((s.message.reader, s.message.kind, s.reason) for s in shots)


def replays(caught: Sequence[Message]) -> list[Shot]:
    """What was said once, by whom it was said, once more."""
    return [
        Shot(message=message, reason="unwanted" if message.kind == "weights" else REPLAYED)
        for message in caught
        if _is_late_for_good(message)
    ]


def _is_late_for_good(message: Message) -> bool:
    """A site may say twice that it is there; and what the controller collects, it takes again."""
    if message.kind == "reports":
        report: Any = decode(message.body, EXPECTED["reports"])  # Any: one of all reports
        return type(report).__name__ not in {
            "SiteStarted", "SiteBeat", "SiteMeasured", "TurnRefused",
        }  # fmt: skip
    return message.kind == "turns" or (message.kind == "weights" and message.reader != CONTROLLER)


class Hostile:
    """Makes hostile messages out of real ones."""

    def __init__(self, caught: Sequence[Message], *, sites: Sequence[str], seed: int) -> None:
        self._rng = random.Random(seed)
        self._sites = sites
        self._caught = {
            kind: [message for message in caught if message.kind == kind] for kind in _KIND.values()
        }
        assert all(self._caught.values()), "messages of every kind were caught"

    def shuffle(self, shots: list[Shot]) -> None:
        self._rng.shuffle(shots)

    def spoiled(self, kind: str, count: int) -> Iterator[Shot]:
        """Messages of this kind that are broken, or told by somebody who may not."""
        while count:
            real = self._real(kind)
            sender = NOBODY if kind == "control" else self._rng.choice([EVIL, EVIL, NOBODY])
            body = self._rng.choice((_as_it_is, *WAYS))(self._rng, real.body)
            shot = self._judged(Message(route=real.route, body=body, sender=sender))
            if shot is not None:
                count -= 1
                yield shot

    def oversized(self, kind: str, count: int) -> Iterator[Shot]:
        for _ in range(count):
            real = self._real(kind)
            body = bytes(MAX_BYTES + self._rng.randint(1, MAX_BYTES // 2))
            sender = NOBODY if kind == "control" else EVIL
            message = Message(route=real.route, body=body, sender=sender)
            yield Shot(message=message, reason="oversized")

    def chunks(self, count: int) -> Iterator[Shot]:
        """Pieces of weights."""
        for _ in range(count):
            real = self._real("weights")
            body, reason, sender = self._rng.choice(_CHUNKS)(self._rng, real.body)
            yield Shot(message=Message(route=real.route, body=body, sender=sender), reason=reason)

    def greedy(self, count: int) -> Iterator[Shot]:
        """More than a site may have lying with another unasked, less than the format allows.

        Where it is more than the disk has left, too, that is what is said of it.
        """
        for _ in range(count):
            real = self._real("weights")
            body = _chunk(self._rng, size=10**12, at=0, data=b"x", digest=self._rng.randbytes(32))
            message = Message(route=real.route, body=body, sender=EVIL)
            yield Shot(message=message, reason="unclaimed")

    def _real(self, kind: str) -> Message:
        """One of those that were caught; control goes to one site each, to be counted there."""
        real = self._rng.choice(self._caught[kind])
        if kind != "control":
            return real
        return replace(real, route=names.to_control(self._rng.choice(self._sites)))

    def _judged(self, message: Message) -> Shot | None:
        """None if it is not hostile: the damage may have made another valid message."""
        try:
            content: Any = decode(message.body, EXPECTED[message.kind])  # Any: of several types
        except MessageError as exc:
            return Shot(message=message, reason=exc.reason)
        reason = _authority(content, message)
        return Shot(message=message, reason=reason) if reason else None


def _authority(content: Any, message: Message) -> str:  # Any: any message
    """Why a well-formed message from this sender must not be believed."""
    if isinstance(content, Turn):
        if content.site != message.reader:
            return "wrong_site"
        is_known = message.sender in {content.predecessor, CONTROLLER}
        return "" if is_known else "wrong_sender"
    if message.kind == "control":
        return "wrong_sender"
    if content.site != message.sender:
        return "wrong_sender"
    is_own = not isinstance(content, TurnDone) or content.record.site == content.site
    return "" if is_own else "wrong_site"


# Ways to spoil a message.


def _noise(rng: random.Random, _: bytes) -> bytes:
    return rng.randbytes(rng.randint(0, 2000))


def _cut(rng: random.Random, body: bytes) -> bytes:
    return body[: rng.randrange(len(body))]


def _flip(rng: random.Random, body: bytes) -> bytes:
    flipped = bytearray(body)
    flipped[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _as_it_is(_: random.Random, body: bytes) -> bytes:
    return body


def _nest(rng: random.Random, _: bytes) -> bytes:
    return rng.choice([b"\x91", b"\x81\xa1v", b"\x81\x91"]) * rng.randint(1, 50_000)


def _promise(rng: random.Random, body: bytes) -> bytes:
    """A length that no memory has."""
    prefix = rng.choice([b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"])
    return prefix + b"\xff\xff\xff" + rng.randbytes(1) + body


def _change(rng: random.Random, body: bytes) -> bytes:
    """One field, anywhere, becomes something else or goes."""
    fields = msgpack.unpackb(body)
    inside = fields
    while True:
        key = rng.choice(list(inside))
        if not isinstance(inside[key], dict) or not inside[key] or rng.random() < 0.3:
            break
        inside = inside[key]
    if rng.random() < 0.3:
        del inside[key]
    else:
        inside[key] = rng.choice(_VALUES)
    return bytes(msgpack.packb(fields))


def _version(rng: random.Random, body: bytes) -> bytes:
    version = rng.choice([0, 2, -1, 2**63, 1.5, "1", None, [1], {"a": 1}, float("nan")])
    return bytes(msgpack.packb({**msgpack.unpackb(body), "v": version}))


def _type(rng: random.Random, body: bytes) -> bytes:
    kind = rng.choice(["evil", "do.Conclude", "run.StopRequested", "plan", "", 7, None, ["turn"]])
    return bytes(msgpack.packb({**msgpack.unpackb(body), "type": kind}))


_VALUES: tuple[Any, ...] = (  # Any: of every type
    None, True, -1, 2**64 - 1, 1.5, float("nan"), float("inf"), "", "x" * 3000, EVIL, b"\x00",
    [], [[]], {}, {"a": {"b": 1}}, [EVIL] * 50,
)  # fmt: skip
WAYS = (_noise, _cut, _flip, _flip, _nest, _promise, _change, _change, _version, _type)
"""Each of them spoils some message, given a source of chance."""


# Ways to spoil weights: body, reason, sender.

Spoiled = tuple[bytes, str, str]


def _chunk(rng: random.Random, *, size: int, at: int, data: bytes, digest: bytes) -> bytes:
    """A piece of a transfer that nobody has heard of."""
    numbers = size.to_bytes(8, "big") + at.to_bytes(8, "big") + len(data).to_bytes(4, "big")
    return b"TSK1" + rng.randbytes(16) + numbers + b"blake3\0\0" + digest + data


def _no_chunk(rng: random.Random, _: bytes) -> Spoiled:
    return rng.randbytes(rng.randint(0, 500)), "bad_chunk", EVIL


def _short_chunk(rng: random.Random, body: bytes) -> Spoiled:
    return body[: rng.randrange(len(body))], "bad_chunk", EVIL


def _vast_chunk(rng: random.Random, _: bytes) -> Spoiled:
    """The last byte but one of 10^15."""
    body = _chunk(rng, size=10**15, at=rng.choice([0, 10**14]), data=b"x", digest=bytes(32))
    return body, "bad_chunk", EVIL


def _long_chunk(rng: random.Random, _: bytes) -> Spoiled:
    data = bytes(MAX_CHUNK_BYTES + 1) if rng.random() < 0.01 else b"xx"
    return _chunk(rng, size=len(data) - 1, at=0, data=data, digest=bytes(32)), "bad_chunk", EVIL


def _lost_chunk(rng: random.Random, _: bytes) -> Spoiled:
    at = rng.randint(1, 10**6)
    return _chunk(rng, size=10**7, at=at, data=b"x", digest=bytes(32)), "out_of_order", EVIL


def _wrong_bytes(rng: random.Random, _: bytes) -> Spoiled:
    data = rng.randbytes(rng.randint(1, 100))
    return (
        _chunk(rng, size=len(data), at=0, data=data, digest=rng.randbytes(32)),
        "bad_digest",
        EVIL,
    )


def _wrong_size(rng: random.Random, body: bytes) -> Spoiled:
    """The real bytes of real weights, of which one more is claimed to come: it never does."""
    real = decode_chunk(body)
    digest = bytes.fromhex(real.weights.digest.partition(":")[2])
    return (
        _chunk(rng, size=real.weights.size + 1, at=0, data=bytes(real.data), digest=digest),
        PENDING,
        EVIL,
    )


def _copy(rng: random.Random, body: bytes) -> Spoiled:
    """Real weights, whole, for a turn that does not exist."""
    return body[:4] + rng.randbytes(16) + body[20:], PENDING, EVIL


def _from_nobody(_: random.Random, body: bytes) -> Spoiled:
    return body, "wrong_sender", NOBODY


_CHUNKS = (
    _no_chunk, _short_chunk, _vast_chunk, _long_chunk, _lost_chunk, _wrong_bytes,
    _wrong_size, _copy, _from_nobody,
)  # fmt: skip
