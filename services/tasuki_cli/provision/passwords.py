"""Password hashes as RabbitMQ stores them, so that no document has to hold a password."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

HASHING = "rabbit_password_hashing_sha256"
_SALT_BYTES = 4


def new_password() -> str:
    """256 bits of chance: too many to guess, whatever hash of it is seen."""
    return secrets.token_urlsafe(32)


def password_hash(password: str, *, salt: bytes | None = None) -> str:
    """base64(salt + sha256(salt + password)), which is `rabbit_password_hashing_sha256`."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def is_hash_of(known: str, password: str) -> bool:
    """Whether this stored hash is that password's."""
    try:
        salt = base64.b64decode(known, validate=True)[:_SALT_BYTES]
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(known.encode(), password_hash(password, salt=salt).encode())
