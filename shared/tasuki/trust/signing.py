"""Signatures: ECDSA on P-256 with SHA-256, over a message and what it is about.

A signature is the 64 bytes of r and s, with the lower of the two s that would do, so that nobody
else can write the same signature in another way.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from tasuki.core.trust import Signed
from tasuki.errors import SettingsError

SIZE = 64
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the group of P-256 (NIST SP 800-186)."""
_ECDSA = ec.ECDSA(hashes.SHA256())
_PREFIX = b"tasuki signature 1\0"

PublicKey = ec.EllipticCurvePublicKey


class SigningKey:
    """A member's key that signs; it is that of its certificate."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        self.public = public_bytes(key.public_key())

    def __repr__(self) -> str:
        return "SigningKey()"

    @classmethod
    def new(cls) -> SigningKey:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: bytes, *, path: Path) -> SigningKey:
        """Raises SettingsError: there is no P-256 key in it that can be used."""
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as exc:
            raise SettingsError(f"{path} is no private key that can be used") from exc
        if not (isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1"):
            raise SettingsError(f"{path} is no P-256 key: take the client.key of the kit")
        return cls(key)

    def pem(self) -> bytes:
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, signed: Signed, *, federation: str) -> Signed:
        """The same message with its signature."""
        return replace(signed, signature=self.over(_covered(signed, federation)))

    def over(self, data: bytes) -> bytes:
        """A signature over bytes that say themselves what they are."""
        r, s = decode_dss_signature(self._key.sign(data, _ECDSA))
        return r.to_bytes(32, "big") + min(s, _N - s).to_bytes(32, "big")


@lru_cache(maxsize=4096)
def public_key(point: bytes) -> PublicKey:
    """Raises ValueError: this is no point of P-256."""
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def public_bytes(key: PublicKey) -> bytes:
    """A key as it stands on a card."""
    return key.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def is_signed_by(signed: Signed, key: PublicKey, *, federation: str) -> bool:
    return is_signature(signed.signature, _covered(signed, federation), key)


def is_signature(signature: bytes, data: bytes, key: PublicKey) -> bool:
    """Whether this is the signature of these bytes, in the one form that counts."""
    if len(signature) != SIZE:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if s > _N - s:
        return False
    try:
        key.verify(encode_dss_signature(r, s), data, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _covered(signed: Signed, federation: str) -> bytes:
    """Each part with its length before it: no two messages have the same."""
    texts = (federation, signed.kind, signed.by, signed.about)
    parts = [*(text.encode() for text in texts), struct.pack(">d", signed.at), signed.body]
    return _PREFIX + b"".join(struct.pack(">I", len(part)) + part for part in parts)
