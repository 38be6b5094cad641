"""What goes between a member and the authority: a request, and the answer to it. Public, signed.

A paper is JSON, kept as the bytes that were signed, with its signature beside it, in armor.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import blake3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.x509.oid import NameOID
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from tasuki.core.model import check_name
from tasuki.disk.errors import disk_errors
from tasuki.errors import SettingsError
from tasuki.trust.armor import armored, unarmored
from tasuki.trust.fingerprints import fingerprint
from tasuki.trust.sealing import SUITE
from tasuki.trust.signing import PublicKey, SigningKey, is_signature, public_bytes

REQUEST, ANSWER = "REQUEST", "ANSWER"
_HASH_BYTES = 4 + 32


def _name(name: str) -> str:
    check_name(name, what="member")
    return name


Name = Annotated[str, AfterValidator(_name)]


class _Paper(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)
    v: Literal[1] = 1


P = TypeVar("P", bound=_Paper)


class Request(_Paper):
    """What a member asks to be let in with.

    `certificate_request`: PKCS#10, as PEM; its key is the one that signs. `unseals`: base64 of the
    X25519 key. `password_hash`: as RabbitMQ keeps it; the password itself stays at the member.
    `at`: when, in seconds since 1970. `renews`: in place of keys that it has.
    """

    federation: Name
    name: Name
    certificate_request: str
    unseals: str
    password_hash: str
    at: int
    renews: bool = False

    @property
    def key(self) -> PublicKey:
        """The one that signs."""
        key = self._csr.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - see `why_not`
        return key

    @property
    def signs(self) -> bytes:
        return public_bytes(self.key)

    @property
    def unsealing(self) -> bytes:
        return base64.b64decode(self.unseals, validate=True)

    @property
    def _csr(self) -> x509.CertificateSigningRequest:
        return x509.load_pem_x509_csr(self.certificate_request.encode())

    def why_not(self) -> str:
        """What is wrong with it in itself; empty if nothing is."""
        try:
            csr, sizes = self._csr, (len(self.unsealing), len(_decoded(self.password_hash)))
        except ValueError as exc:
            return str(exc)
        key = csr.public_key()
        names = [each.value for each in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"):
            return "its key is no P-256 key"
        if not csr.is_signature_valid or names != [self.name]:
            return "its certificate request is not its own"
        if sizes != (32, _HASH_BYTES):
            return "its X25519 key or its password's hash has another length than it should"
        return "" if _is_sealable(self.unsealing) else "nothing can be sealed for its X25519 key"


class Answer(_Paper):
    """What the authority answers.

    `request`: the digest of the request. `authority`: its certificate, as PEM. `certificate`: the
    member's, and `ca`: whom it trusts to be the broker; empty where there is none. `roster`: base64
    of it as it travels. `settings`: what federation.toml says of broker and streams.
    """

    federation: Name
    name: Name
    request: str
    authority: str
    certificate: str = ""
    ca: str = ""
    roster: str
    settings: dict[str, Any]  # Any: JSON

    @property
    def issued(self) -> bytes:
        """The roster as it travels."""
        return _decoded(self.roster)


class Written(BaseModel):
    """A paper as it travels: its bytes, and who signed them.

    `previous`: a signature over the same with the key that a renewal replaces.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)
    body: bytes
    signature: bytes
    previous: bytes = b""

    @classmethod
    def of(cls, paper: _Paper, *, key: SigningKey, previous: SigningKey | None = None) -> Self:
        body = json.dumps(paper.model_dump(mode="json"), sort_keys=True).encode()
        covered = _covered(type(paper), body)
        return cls(
            body=body,
            signature=key.over(covered),
            previous=b"" if previous is None else previous.over(covered),
        )

    @property
    def digest(self) -> str:
        return f"blake3:{blake3.blake3(self.body).hexdigest()}"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.body)

    def is_signed_by(self, key: PublicKey, *, kind: type[_Paper]) -> bool:
        return is_signature(self.signature, _covered(kind, self.body), key)

    def was_signed_by(self, key: PublicKey) -> bool:
        """Whether a request is its too, that is replaced."""
        return is_signature(self.previous, _covered(Request, self.body), key)

    def armored(self, *, what: str) -> bytes:
        parts = {name: base64.b64encode(data).decode() for name, data in self}
        return armored(json.dumps(parts).encode(), what=what)


def certificate_request(name: str, pem: bytes) -> str:
    """PKCS#10 of a private key, as PEM: whoever has it may ask for a certificate."""
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - made by us, or loaded before
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = csr.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def read_request(path: Path) -> tuple[Written, Request]:
    """A request, by whoever has the keys that it names.

    Raises:
        SettingsError: it is none, or it is damaged.
        StorageError: the file cannot be read.
    """
    written, request = _read(path, Request, what=REQUEST)
    why = request.why_not()
    if not why and not written.is_signed_by(request.key, kind=Request):
        why = "it was altered after it was signed"
    if why:
        raise SettingsError(f"{path}: {why}; have it made and sent again")
    return written, request


def read_answer(path: Path) -> tuple[Written, Answer]:
    """An answer of the authority that it names; whether that is ours is for its reader to see.

    Raises:
        SettingsError: it is none, or it is damaged.
        StorageError: the file cannot be read.
    """
    written, answer = _read(path, Answer, what=ANSWER)
    key = authority_of(answer)
    if key is None or not written.is_signed_by(key, kind=Answer):
        raise SettingsError(f"{path}: it was altered after it was signed; have it sent again")
    return written, answer


def authority_of(answer: Answer) -> PublicKey | None:
    """The key of the authority that it names; None: there is none that signs."""
    try:
        key = x509.load_pem_x509_certificate(answer.authority.encode()).public_key()
    except ValueError:
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) else None


def _read(path: Path, kind: type[P], *, what: str) -> tuple[Written, P]:
    with disk_errors(path):
        text = path.read_bytes()
    try:
        parts = json.loads(unarmored(text, what=what))
        written = Written(**{name: _decoded(data) for name, data in parts.items()})
        return written, kind.model_validate_json(written.body)
    except (ValueError, TypeError, AttributeError, ValidationError) as exc:
        other = {REQUEST: ANSWER, ANSWER: REQUEST}[what]
        if f"TASUKI {other}-----".encode() in text:
            raise SettingsError(
                f"{path} is no {what.lower()}, but "
                + (
                    "the answer to one: the member installs it"
                    if what == REQUEST
                    else "a request: the authority signs it, and sends its answer"
                )
            ) from exc
        raise SettingsError(
            f"{path} is no {what.lower()}, or is damaged ({exc}); have it sent again"
        ) from exc


def _is_sealable(key: bytes) -> bool:
    """There are a few keys with which whoever seals anything fails."""
    try:
        SUITE.encrypt(b"", X25519PublicKey.from_public_bytes(key))
    except ValueError:
        return False
    return True


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError(f"not in base64: {exc}") from exc


def _covered(kind: type[_Paper], body: bytes) -> bytes:
    return f"tasuki {kind.__name__.lower()} 1\0".encode() + body
