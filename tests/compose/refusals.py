"""A site that has to stay out: each with the kit that is wrong in one way."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from compose.engine import Stack, docker
from support.waiting import wait_until

OWNER = 10001
PASSWORD = "not-the-password"  # noqa: S105 - it is wrong on purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What is wrong, how to make it so, and the words that must be read at both ends."""

    name: str
    spoil: Callable[[Path, Path], None]
    site_says: tuple[str, ...]
    broker_says: tuple[str, ...]
    doctor_says: tuple[str, ...]

    def spoiled(self, kit: Path, authority: Path) -> Path:
        """A copy of a kit with this wrong about it."""
        copy = kit.parent / f"spoiled-{self.name.replace(' ', '-')}" / kit.name
        shutil.copytree(kit, copy)
        self.spoil(copy, authority)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, OWNER, OWNER)
        return copy


def wrong_ca(kit: Path, _: Path) -> None:
    """The site trusts another authority than the broker's; its rosters are still its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key, name="somebody else's authority", signed_by=(None, key))
    (kit / "other.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    settings = (kit / "site.toml").read_text()
    assert '\nca = "ca.pem"' in settings
    (kit / "site.toml").write_text(settings.replace('\nca = "ca.pem"', '\nca = "other.pem"'))


def expired(kit: Path, authority: Path) -> None:
    """The federation's own authority signed it, for a time that is over."""
    issuer = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = serialization.load_pem_private_key((kit / "client.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = _certificate(key, name=kit.name, signed_by=(issuer, signer), ended_days_ago=1)
    (kit / "client.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def wrong_password(kit: Path, _: Path) -> None:
    (kit / "password").write_text(PASSWORD + "\n")


def nothing(_: Path, __: Path) -> None:
    """The kit is as it was handed out."""


BEFORE = (
    Refusal(
        name="wrong CA",
        spoil=wrong_ca,
        site_says=("certificate verify failed", "certificate_verify_failed"),
        # Under TLS 1.3 Erlang has no better words for an alert that comes before the keys.
        # Erlang cannot read the alert of a site that hangs up so early in TLS 1.3, and says that.
        broker_says=("unknown ca", "unknown_ca", "bad certificate", "record_type_mismatch"),
        doctor_says=("certificate", "authority"),
    ),
    Refusal(
        name="expired certificate",
        spoil=expired,
        site_says=("certificate expired", "certificate_expired", "expired"),
        broker_says=("certificate expired", "certificate_expired", "cert_expired"),
        doctor_says=("expired",),
    ),
    Refusal(
        name="wrong password",
        spoil=wrong_password,
        site_says=("refuses user", "access_refused", "refused"),
        broker_says=("invalid credentials", "login refused"),
        doctor_says=("password", "refuse"),
    ),
)
REVOKED = Refusal(
    name="revoked site",
    spoil=nothing,
    site_says=("revoked", "refuses user", "access_refused", "refused"),
    broker_says=("revoked", "invalid credentials", "login refused"),
    doctor_says=("revoked", "refuse", "password"),
)


def check_refused(refusal: Refusal, stack: Stack, kit: Path) -> tuple[str, str]:
    """Start a site with a kit that is no good; the line at each end that says why it is out."""
    before = len(stack.logs("rabbitmq"))
    with _site(kit, stack) as container:
        here = wait_until(
            lambda: _line(docker("logs", container, check=False), refusal.site_says),
            what=f"{refusal.name}: the site says why it stays out",
            within_s=90,
            poll_s=1,
        )
        there = wait_until(
            lambda: _line(stack.logs("rabbitmq")[before:], refusal.broker_says),
            what=f"{refusal.name}: the broker says why it refused",
            within_s=60,
            poll_s=1,
        )
    return here, there


def doctor(kit: Path, stack: Stack) -> str:
    """The first thing that `tasuki doctor` finds wrong with a kit."""
    printed = docker(
        "run", "--rm", "--network", stack.network("relay"), "--volume", f"{kit}:/kit:ro",
        "--user", f"{OWNER}:{OWNER}", "--tmpfs", "/tmp",  # noqa: S108 - the container's
        "tasuki-site", "doctor", "--config", "/kit/site.toml", "--json",
        check=False,
    )  # fmt: skip
    said = [line for line in printed.splitlines() if line.startswith("{")]
    assert said, printed
    report = json.loads(said[-1])
    wrong = [check for check in report["checks"] if check["status"] == "fail"]
    assert wrong, printed
    return f"{wrong[0]['name']}: {wrong[0]['found']}; {wrong[0]['advice']}"


@contextmanager
def _site(kit: Path, stack: Stack) -> Iterator[str]:
    container = docker(
        "run", "--detach", "--network", stack.network("relay"), "--volume", f"{kit}:/kit:ro",
        "--user", f"{OWNER}:{OWNER}", "--label", f"com.docker.compose.project={stack.project}",
        "tasuki-site",
    ).strip()  # fmt: skip
    try:
        yield container
    finally:
        docker("rm", "--force", container)


def _line(text: str, wanted: tuple[str, ...]) -> str:
    """The first line that has one of these words."""
    for line in text.splitlines():
        if any(word in line.lower() for word in wanted):
            return line.strip()
    return ""


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    *,
    name: str,
    signed_by: tuple[x509.Certificate | None, ec.EllipticCurvePrivateKey],
    ended_days_ago: int | None = None,
) -> x509.Certificate:
    issuer, signer = signed_by
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    ends = now + timedelta(days=30) if ended_days_ago is None else now - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=60))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
