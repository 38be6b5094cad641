"""Sealed transfers: AES-256-GCM for each piece, and its key wrapped by HPKE (RFC 9180).

HPKE is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM in base mode; who sealed a transfer is
said by the signature over its `Seal`. What goes by HPKE is a session's key, from one sender to one
card: that wraps content keys. A content key is derived from what its sender alone knows and from
all that is sealed with it, so that a transfer that is sent again after a crash is the same bytes,
and no key ever seals two things.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path

import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tasuki.core.model import WeightsRef
from tasuki.core.trust import Card, Seal
from tasuki.errors import MessageError, SettingsError
from tasuki.ports import Buffer

TAG_BYTES = 16
KEY_BYTES = 32
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
NONCE_BYTES = 12
BETWEEN = 32 + KEY_BYTES + TAG_BYTES
"""Bytes of a session's key as HPKE wraps it."""
_REST = BETWEEN + NONCE_BYTES

MOST_SESSIONS = 1024
"""Of all senders, that a reader remembers."""
MOST_USES = 2**20
"""Far below what nonces that are drawn by chance allow (NIST SP 800-38D: 2**32)."""

_SESSION = b"tasuki session 1\0"
_WRAP = b"tasuki key 1\0"
_CONTENT = b"tasuki content 1\0"
_PIECE = b"tasuki piece 1\0"
_MESSAGE = b"tasuki message 1\0"


class SealingKey:
    """A member's key that unseals what is for it."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self._sessions: dict[bytes, AESGCM] = {}  # in the order in which they were heard of
        self.public = key.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return "SealingKey()"

    @classmethod
    def new(cls) -> SealingKey:
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, pem: bytes, *, path: Path) -> SealingKey:
        """Raises SettingsError: there is no X25519 key in it that can be used."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as exc:
            raise SettingsError(f"{path} is no private key that can be used") from exc
        if not isinstance(key, X25519PrivateKey):
            raise SettingsError(f"{path} is no X25519 key: take the seal.key of the kit")
        return cls(key)

    def pem(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes | None:
        """The content key; None if it was not wrapped for this key and this context.

        Anybody can wrap anything for us: what is no key is none.
        """
        between, nonce, rest = wrapped[:BETWEEN], wrapped[BETWEEN:_REST], wrapped[_REST:]
        if (session := self._session(between)) is None:
            return None
        try:
            key = session.decrypt(nonce, rest, _WRAP + context)
        except (InvalidTag, ValueError):
            return None
        return key if len(key) == KEY_BYTES else None

    def _session(self, between: bytes) -> AESGCM | None:
        """What wraps keys of one sender; HPKE costs as much as all the rest of a message."""
        if between not in self._sessions:
            try:
                key = SUITE.decrypt(between, self._key, info=_SESSION)
            except (InvalidTag, ValueError):
                return None
            if len(key) != KEY_BYTES:
                return None
            while len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[between] = AESGCM(key)
        return self._sessions[between]

    def content_key(self, context: bytes, *, step: int) -> bytes:
        """The key that seals what is sent in this context, cut into pieces of so many bytes."""
        info = _CONTENT + struct.pack(">Q", step)
        derivation = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=context, info=info)
        return derivation.derive(self._key.private_bytes_raw())


def context_of(
    *, federation: str, sender: str, recipients: Iterable[str], transfer: bytes, weights: WeightsRef
) -> bytes:
    """32 bytes that stand for all that a transfer is: who sends it to whom, for which turn, what.

    `transfer` names the turn: it is a digest of run, lane, term, round, hop and digest.
    """
    texts = (federation, sender, weights.digest, *sorted(recipients))
    parts = [transfer, struct.pack(">Q", weights.size), *(text.encode() for text in texts)]
    return _digest_of(b"", parts)


class Cipher:
    """Seals the pieces of one transfer, or unseals them."""

    def __init__(self, key: bytes, context: bytes) -> None:
        self._aead = AESGCM(key)
        self._context = context

    def seal(self, data: Buffer, *, at: int, is_last: bool) -> bytes:
        """A piece with its tag behind it. `at`: where it belongs in the whole."""
        return self._aead.encrypt(_nonce(at, is_last), data, _PIECE + self._context)

    def unseal(self, data: Buffer, *, at: int, is_last: bool) -> bytes:
        """What is in a piece.

        Raises:
            MessageError: this is not that piece.
        """
        found = bytearray(max(0, len(data) - TAG_BYTES))
        self.unseal_into(memoryview(found), data, at=at, is_last=is_last)
        return bytes(found)

    def unseal_into(self, into: memoryview, data: Buffer, *, at: int, is_last: bool) -> None:
        """The same, written to `into`, which has its length.

        Raises:
            MessageError: this is not that piece; what is in `into` now means nothing.
        """
        try:
            self._aead.decrypt_into(_nonce(at, is_last), data, _PIECE + self._context, into)
        except (InvalidTag, ValueError) as exc:
            raise MessageError(
                "a piece of weights that was altered after it was sealed", reason="bad_seal"
            ) from exc


class Sessions:
    """Wraps the content keys that one sender has, for each card by a key between the two.

    That one is drawn when it is needed first, and wrapped by HPKE once.
    """

    def __init__(self) -> None:
        self._of: dict[bytes, _Session] = {}

    def wrap(
        self, key: bytes, context: bytes, cards: Iterable[Card]
    ) -> tuple[tuple[str, bytes], ...]:
        """A content key for each of these cards' owners."""
        return tuple((card.name, self._with(card).wrap(key, context)) for card in cards)

    def _with(self, card: Card) -> _Session:
        session = self._of.get(card.unseals)
        if session is None or session.uses >= MOST_USES:
            session = self._of[card.unseals] = _Session(card)
        return session


class _Session:
    def __init__(self, card: Card) -> None:
        key = new_key()
        to = X25519PublicKey.from_public_bytes(card.unseals)
        self._between = SUITE.encrypt(key, to, _SESSION)
        self._aead = AESGCM(key)
        self.uses = 0

    def wrap(self, key: bytes, context: bytes) -> bytes:
        self.uses += 1
        nonce = os.urandom(NONCE_BYTES)
        return self._between + nonce + self._aead.encrypt(nonce, key, _WRAP + context)


def message_context(*, federation: str, by: str, to: str, kind: str) -> bytes:
    """32 bytes that stand for what everybody can read of a sealed message."""
    return _digest_of(_MESSAGE, [text.encode() for text in (federation, by, to, kind)])


def with_keys(context: bytes, keys: Iterable[bytes]) -> bytes:
    """The same, and how its key was wrapped: none can be added, changed or taken away."""
    return _digest_of(_MESSAGE, [context, *keys])


def new_key() -> bytes:
    """For one message or session, and no other."""
    return AESGCM.generate_key(8 * KEY_BYTES)


def recipients_of(seal: Seal) -> tuple[str, ...]:
    """For whom it was sealed."""
    return tuple(sorted({name for name, _ in seal.keys}))


def _digest_of(prefix: bytes, parts: Iterable[bytes]) -> bytes:
    """Each part with its length before it: no two lists have the same."""
    framed = prefix + b"".join(struct.pack(">I", len(part)) + part for part in parts)
    return blake3.blake3(framed).digest()


def _nonce(at: int, is_last: bool) -> bytes:
    return struct.pack(">QB3x", at, is_last)
