"""Certificates of a federation's own small authority.

One authority signs the broker's certificate and one of each user, so that both ends of a
connection know each other. Its key stays with whoever provisions.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import Certificate as Certificate
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tasuki.disk.errors import disk_errors
from tasuki.errors import SettingsError
from tasuki.trust.signing import SigningKey

WARN_DAYS = 30
SLOW_CLOCKS = timedelta(hours=1)
"""A site's clock may be behind ours; a new certificate has to be good there at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its private key as PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


class Authority:
    """Signs for one federation.

    Args:
        days: how long what it signs is good for, and never longer than itself.
    """

    def __init__(
        self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, *, days: int
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._days = days

    @property
    def signing(self) -> SigningKey:
        """Its key, for what is no certificate."""
        return SigningKey(self._key)

    @classmethod
    def load(cls, certificate: Path, key: Path, *, days: int) -> Authority:
        """Raises SettingsError: the two are not an authority of ours."""
        with disk_errors(key):
            pem = key.read_bytes()
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as exc:
            raise SettingsError(f"{key} is no private key that can be used") from exc
        found = load(certificate)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or (
            private.public_key() != found.public_key()
        ):
            raise SettingsError(f"{key} is not the key of {certificate}")
        return cls(found, private, days=days)

    def for_client(self, user: str, *, now: datetime | None = None) -> Pair:
        """What a user proves to the broker who it is with."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _pair(self.for_key(user, key.public_key(), now=now), key)

    def for_key(
        self, user: str, key: ec.EllipticCurvePublicKey, *, now: datetime | None = None
    ) -> x509.Certificate:
        """The same for a user who has a key already, and keeps it."""
        return self._sign(user, key, ExtendedKeyUsageOID.CLIENT_AUTH, hosts=(), now=now)

    def for_server(self, hosts: Sequence[str], *, now: datetime | None = None) -> Pair:
        """What the broker proves to everyone that it is these hosts with."""
        key, name = ec.generate_private_key(ec.SECP256R1()), hosts[0].strip("[]")
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return _pair(self._sign(name, key.public_key(), usage, hosts=hosts, now=now), key)

    def revocations(self, serials: Iterable[int], *, now: datetime | None = None) -> bytes:
        """The list of certificates that are no longer good, as PEM."""
        now = now or datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - SLOW_CLOCKS)
            # A list that ran out would shut everyone out: it is good as long as its authority.
            .next_update(self._certificate.not_valid_after_utc)
            .add_extension(self._identifier(), critical=False)
            .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        usage: x509.ObjectIdentifier,
        *,
        hosts: Sequence[str],
        now: datetime | None,
    ) -> x509.Certificate:
        now = now or datetime.now(UTC)
        end = min(now + timedelta(days=self._days), self._certificate.not_valid_after_utc)
        builder = (
            _builder(name, key, start=now - SLOW_CLOCKS, end=end)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(self._identifier(), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def new_authority(federation: str, *, days: int) -> Pair:
    """A fresh authority of this federation."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = f"Tasuki federation {federation}"
    builder = (
        _builder(name, key.public_key(), start=now - SLOW_CLOCKS, end=now + timedelta(days=days))
        .issuer_name(_name(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def list_name(authority: x509.Certificate) -> str:
    """What the broker looks for as this authority's list: OpenSSL's hash of its name.

    That is the SHA-1 of the name's one part in lower case, without the frame around all parts.
    """
    (common_name,) = authority.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    framed = _name(str(common_name.value).lower()).public_bytes()
    digest = hashlib.sha1(framed[2:], usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}.r0"


def load(path: Path) -> x509.Certificate:
    """Raises SettingsError: there is no certificate in this file."""
    with disk_errors(path):
        pem = path.read_bytes()
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as exc:
        raise SettingsError(f"{path} is no PEM certificate") from exc


def days_left(certificate: x509.Certificate, *, now: datetime | None = None) -> int:
    """Whole days until it ends; negative once it has."""
    return (certificate.not_valid_after_utc - (now or datetime.now(UTC))).days


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that a server's certificate is good for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def revoked_in(path: Path) -> set[int]:
    """The serial numbers in a list of revocations.

    Raises:
        SettingsError: there is no such list in this file.
    """
    with disk_errors(path):
        pem = path.read_bytes()
    try:
        return {entry.serial_number for entry in x509.load_pem_x509_crl(pem)}
    except ValueError as exc:
        raise SettingsError(f"{path} is no list of revoked certificates") from exc


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(
    name: str, key: ec.EllipticCurvePublicKey, *, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
