"""A certificate that ends soon is noticed in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support.numbers import shown
from tasuki.observe.certificate import DAY_S, certificate_expiry, warn_if_near
from tasuki.observe.metrics import Subject
from tasuki.observe.site import SiteMetrics
from tasuki.transport.amqp import Counters

END = datetime(2030, 1, 31, tzinfo=UTC)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site-1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(END - timedelta(days=365))
        .not_valid_after(END)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "site-1.crt"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def test_the_end_of_a_certificate_is_read(certificate: Path) -> None:
    assert certificate_expiry(certificate) == END.timestamp()


def test_the_certificate_in_use_is_shown_and_not_one_that_waits_for_a_restart(
    certificate: Path,
) -> None:
    counters = Counters()
    subject = Subject(
        service="site-1", counters=counters, is_up=lambda: True, certificate=certificate
    )
    metrics = SiteMetrics(subject, has_turn=lambda: False)
    certificate.write_bytes(b"")
    name = 'tasuki_certificate_expiry_timestamp_seconds{service="site-1"}'
    assert shown(metrics)[name] == END.timestamp()


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_a_file_that_is_no_certificate_has_no_end(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other"
    if content is not None:
        path.write_bytes(content)
    assert certificate_expiry(path) is None


@pytest.mark.parametrize(("days", "is_near"), [(31, False), (30, False), (29.9, True), (-1, True)])
def test_a_month_before_the_end_it_is_said(certificate: Path, days: float, is_near: bool) -> None:
    with structlog.testing.capture_logs() as logs:
        assert warn_if_near(certificate, now=END.timestamp() - days * DAY_S) is is_near
    assert [line["log_level"] for line in logs] == ["warning"] * is_near
