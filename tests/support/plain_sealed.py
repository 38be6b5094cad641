"""A reader of sealed transfers and messages as docs/protocol.md says it, without any code of ours.

It has the primitives of a library, and HPKE put together by hand from RFC 9180.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

HEADER = struct.Struct(">4s16sQQI8s32s")
HALF_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 // 2


def framed(parts: Iterable[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


# --- HPKE, base mode: X25519, HKDF-SHA256, AES-256-GCM (RFC 9180, 4.1 and 5.1)

KEM, SUITE = b"KEM" + bytes.fromhex("0020"), b"HPKE" + bytes.fromhex("002000010002")


def extract(salt: bytes, key: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), key, hashlib.sha256)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    block, found = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha256)
        found += block
    return found[:length]


def labeled_extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    return extract(salt, b"HPKE-v1" + suite + label + key)


def labeled_expand(suite: bytes, key: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def key_and_nonce(enc: bytes, private: bytes, info: bytes) -> tuple[bytes, bytes]:
    """What the first message of an encapsulated key is encrypted with."""
    mine = X25519PrivateKey.from_private_bytes(private)
    dh = mine.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + mine.public_key().public_bytes_raw()
    prk = labeled_extract(KEM, b"", b"eae_prk", dh)
    shared = labeled_expand(KEM, prk, b"shared_secret", context, 32)
    psk_id = labeled_extract(SUITE, b"", b"psk_id_hash", b"")
    schedule = b"\0" + psk_id + labeled_extract(SUITE, b"", b"info_hash", info)
    secret = labeled_extract(SUITE, shared, b"secret", b"")
    return (
        labeled_expand(SUITE, secret, b"key", schedule, 32),
        labeled_expand(SUITE, secret, b"base_nonce", schedule, 12),
    )


def hpke_open(wrapped: bytes, private: bytes, info: bytes, aad: bytes = b"") -> bytes:
    key, nonce = key_and_nonce(wrapped[:32], private, info)
    return AESGCM(key).decrypt(nonce, wrapped[32:], aad)


# --- signatures


def verify(envelope: dict[str, Any], *, federation: str, point: bytes) -> None:
    """Raises InvalidSignature or ValueError: this key has not signed it."""
    texts = (federation, envelope["kind"], envelope["by"], envelope["about"])
    at, body = struct.pack(">d", envelope["at"]), envelope["body"]
    covered = framed([*(text.encode() for text in texts), at, body])
    r, s = (int.from_bytes(half, "big") for half in struct.unpack("32s32s", envelope["signature"]))
    if s > HALF_OF_P256:
        raise ValueError("another form of the signature")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    signature = utils.encode_dss_signature(r, s)
    key.verify(signature, b"tasuki signature 1\0" + covered, ec.ECDSA(SHA256()))


# --- transfers


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Who reads one transfer.

    Attributes:
        private: its X25519 key.
        sender, point: who sent it, and the P-256 point of its card.
    """

    federation: str
    name: str
    private: bytes
    sender: str
    point: bytes

    def read(self, pieces: Sequence[bytes]) -> bytes:
        """The weights of all of a transfer's pieces, in order.

        Raises:
            Exception: whatever is wrong with it.
        """
        magic, transfer, size, _, _, _, digest = HEADER.unpack_from(pieces[0])
        end = 84 + int.from_bytes(pieces[0][80:84], "big")
        key, context = self._opened(pieces[0][84:end], transfer, size, digest)
        found = b""
        for piece in pieces:
            at, length = HEADER.unpack_from(piece)[3:5]
            expected = HEADER.pack(
                b"TSK2", transfer, size, len(found), length, b"blake3\0\0", digest
            )
            if piece[:80] != expected:
                raise ValueError("not the next piece of this transfer")
            sealed = piece[80:] if at else piece[end:]
            nonce = struct.pack(">QBBBB", at, at + length == size, 0, 0, 0)
            found += AESGCM(key).decrypt(nonce, sealed, b"tasuki piece 1\0" + context)
        if magic != b"TSK2" or len(found) != size or blake3(found).digest() != digest:
            raise ValueError("not what was promised")
        return found

    def _opened(
        self, seal: bytes, transfer: bytes, size: int, digest: bytes
    ) -> tuple[bytes, bytes]:
        """The content key, and the context."""
        envelope = msgpack.unpackb(seal)
        if (envelope["kind"], envelope["by"]) != ("seal", self.sender):
            raise ValueError("not the sender's seal")
        verify(envelope, federation=self.federation, point=self.point)
        body = msgpack.unpackb(envelope["body"])
        text = f"blake3:{digest.hex()}"
        if (body["transfer"], body["weights"]) != (transfer, {"digest": text, "size": size}):
            raise ValueError("the seal of another transfer")
        recipients = sorted({name for name, _ in body["keys"]})
        names = (self.federation, self.sender, text, *recipients)
        parts = [transfer, size.to_bytes(8, "big"), *(name.encode() for name in names)]
        context = blake3(framed(parts)).digest()
        wrapped = dict(body["keys"])[self.name]
        return unwrapped(wrapped, self.private, context), context


# --- closed messages


def unwrapped(wrapped: bytes, private: bytes, context: bytes) -> bytes:
    """A content key: 80 bytes by HPKE, a nonce of 12, and the key under what HPKE brought."""
    session = hpke_open(wrapped[:80], private, b"tasuki session 1\0")
    return AESGCM(session).decrypt(wrapped[80:92], wrapped[92:], b"tasuki key 1\0" + context)


def open_closed(body: bytes, *, federation: str, sender: str, name: str, private: bytes) -> bytes:
    """The message in one that is for this member.

    Raises:
        Exception: whatever is wrong with it.
    """
    closed = msgpack.unpackb(body)
    if (closed["v"], closed["type"], closed["by"], closed["to"]) != (1, "sealed", sender, name):
        raise ValueError("not of this sender, or not for us")
    texts = (federation, sender, name, closed["kind"])
    context = blake3(b"tasuki message 1\0" + framed(text.encode() for text in texts)).digest()
    (wrapped,) = closed["keys"]
    key = unwrapped(wrapped, private, context)
    nonce = bytes(8) + b"\1" + bytes(3)
    whole = blake3(b"tasuki message 1\0" + framed([context, *closed["keys"]])).digest()
    return AESGCM(key).decrypt(nonce, closed["data"], b"tasuki piece 1\0" + whole)
