"""The federation's authority: what it signs is taken by both ends, and by nobody else."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from support.tls import handshake, server_of
from tasuki.errors import SettingsError
from tasuki.settings.site import read_site
from tasuki_cli.provision import certificates
from tasuki_cli.provision.certificates import Authority
from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.command import provision
from tasuki_cli.provision.report import Report

Provision = Callable[..., Report]
HOST = "mq.example"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "kits"


@pytest.fixture
def provisioned(out: Path) -> Provision:
    def make(
        *, more: str = "", broker: str = "", folder: Path = out, changes: Changes | None = None
    ) -> Report:
        path = out.parent / "federation.toml"
        path.write_text(
            f'name = "clinics"\nsites = {json.dumps(["site-1", "site-2"])}\n'
            f'[broker]\nhost = "{HOST}"\nscheme = "amqps"\n{broker}\n{more}\n'
        )
        return provision(path, out=folder, changes=changes)

    return make


def client_of(out: Path, site: str = "site-1") -> ssl.SSLContext:
    """As the site's service makes it from its kit."""
    context = read_site(out / site / "site.toml", {}).broker.tls()
    assert context is not None
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(out: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in out.rglob("*") if path.is_file())
    return {str(f.relative_to(out)): (f.read_bytes(), f.stat().st_mtime_ns) for f in files}


@pytest.mark.parametrize("host", [HOST, "localhost", "127.0.0.1", "rabbitmq"])
def test_site_and_broker_verify_each_other_by_every_name(
    out: Path, provisioned: Provision, host: str
) -> None:
    provisioned(broker='names = ["rabbitmq"]')

    ours = handshake(client_of(out), server_of(out / "broker"), host=host)

    assert (ours.version() or "") >= "TLSv1.2"


def test_a_name_that_is_not_the_broker_s_is_not_talked_to(
    out: Path, provisioned: Provision
) -> None:
    provisioned()

    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(client_of(out), server_of(out / "broker"), host="elsewhere.example")


def test_the_broker_of_another_federation_is_not_talked_to(
    out: Path, provisioned: Provision, tmp_path: Path
) -> None:
    provisioned()
    provisioned(folder=tmp_path / "other")

    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        handshake(client_of(out), server_of(tmp_path / "other/broker"), host=HOST)


def test_a_site_of_another_federation_is_not_let_in(
    out: Path, provisioned: Provision, tmp_path: Path
) -> None:
    provisioned()
    provisioned(folder=tmp_path / "other")
    for name in ("client.pem", "client.key"):
        (out / "site-1" / name).write_bytes((tmp_path / "other/site-1" / name).read_bytes())

    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        handshake(client_of(out), server_of(out / "broker"), host=HOST)


def test_a_site_without_a_certificate_is_not_let_in(out: Path, provisioned: Provision) -> None:
    provisioned()
    bare = ssl.create_default_context(cafile=str(out / "site-1/ca.pem"))

    with pytest.raises(ssl.SSLError, match="peer did not return a certificate"):
        handshake(bare, server_of(out / "broker"), host=HOST)


def test_a_site_s_certificate_does_not_make_it_a_broker(out: Path, provisioned: Provision) -> None:
    provisioned()
    for name in ("pem", "key"):
        stolen = (out / f"site-2/client.{name}").read_bytes()
        (out / f"broker/server.{name}").write_bytes(stolen)

    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(client_of(out), server_of(out / "broker"), host=HOST)


def test_certificates_say_what_they_are_for(out: Path, provisioned: Provision) -> None:
    provisioned()

    authority, broker, site = (
        certificate(out / name) for name in ("ca/ca.pem", "broker/server.pem", "site-1/client.pem")
    )
    assert ["clinics" in authority.subject.rfc4514_string(), "CN=site-1"] == [
        True,
        site.subject.rfc4514_string(),
    ]
    for one, usage in (
        (broker, ExtendedKeyUsageOID.SERVER_AUTH),
        (site, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        extended = one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        basic = one.extensions.get_extension_for_class(x509.BasicConstraints)
        assert ([usage], False, True) == (list(extended), basic.value.ca, basic.critical)
        key = one.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert "secp256r1" == key.curve.name
    assert len({authority.serial_number, broker.serial_number, site.serial_number}) == 3
    assert [HOST, "localhost", "127.0.0.1"] == certificates.hosts_of(broker)


def test_lifetimes_are_those_of_the_file(out: Path, provisioned: Provision) -> None:
    provisioned(more="[certificates]\ndays = 100\nca_days = 200")

    now = datetime.now(UTC)
    for name, days in (("site-1/client.pem", 100), ("broker/server.pem", 100), ("ca/ca.pem", 200)):
        left = certificate(out / name).not_valid_after_utc - now
        assert abs(left - timedelta(days=days)) < timedelta(minutes=5)
    assert certificate(out / "site-1/client.pem").not_valid_before_utc < now - timedelta(minutes=30)


def test_nothing_outlives_its_authority(tmp_path: Path) -> None:
    pair = certificates.new_authority("clinics", days=10)
    (tmp_path / "ca.pem").write_bytes(pair.certificate)
    (tmp_path / "ca.key").write_bytes(pair.key)
    authority = Authority.load(tmp_path / "ca.pem", tmp_path / "ca.key", days=100)

    signed = x509.load_pem_x509_certificate(authority.for_client("site-1").certificate)

    assert certificate(tmp_path / "ca.pem").not_valid_after_utc == signed.not_valid_after_utc


def test_keys_are_their_owner_s_alone_and_no_key_is_in_a_repr(
    out: Path, provisioned: Provision
) -> None:
    provisioned()

    keys = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.key"))
    assert ["broker/server.key", "ca/ca.key"] == keys[:2]
    members = ("controller", "site-1", "site-2")
    theirs = [f"{name}/{key}" for name in members for key in ("client.key", "seal.key")]
    assert theirs == keys[2:]
    assert {0o600} == {stat.S_IMODE((out / key).stat().st_mode) for key in keys}
    assert len({(out / key).read_bytes() for key in keys}) == len(keys)
    assert "PRIVATE" not in repr(certificates.new_authority("clinics", days=1))


def test_a_second_time_changes_no_byte_and_needs_no_key(out: Path, provisioned: Provision) -> None:
    provisioned()
    (out / "ca/ca.key").rename(out.parent / "kept-elsewhere")
    before = contents(out)

    report = provisioned()

    assert before == contents(out)
    assert ([], [], []) == (report.created, report.changed, report.notes)


def test_what_is_near_its_end_is_said(out: Path, provisioned: Provision) -> None:
    report = provisioned(more="[certificates]\ndays = 20")

    assert 4 == len(report.notes)
    assert "site-1/client.pem ends in 19 days; renew it with --reissue site-1" in report.notes


def test_a_broker_with_another_name_needs_another_certificate(
    out: Path, provisioned: Provision
) -> None:
    provisioned()

    report = provisioned(broker='names = ["mq2.example", "[::1]"]')

    expected = "broker/server.pem is not good for mq2.example, [::1]; renew it with"
    assert [expected] == [note.removesuffix(" --reissue broker") for note in report.notes]


def test_an_authority_near_its_end_is_said(out: Path, provisioned: Provision) -> None:
    report = provisioned(more="[certificates]\ndays = 20\nca_days = 20")

    assert "ca/ca.pem ends in 19 days" in report.notes[0]


def test_a_new_authority_takes_over_kit_by_kit(out: Path, provisioned: Provision) -> None:
    provisioned()
    (out / "ca").rename(out.parent / "old-authority")

    assert 4 == len(provisioned().notes)
    for user in ("broker", "site-1"):
        provisioned(changes=Changes(reissue=user))

    handshake(client_of(out), server_of(out / "broker"), host=HOST)
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        handshake(client_of(out, "site-2"), server_of(out / "broker"), host=HOST)


def test_a_certificate_of_someone_else_is_said(
    out: Path, provisioned: Provision, tmp_path: Path
) -> None:
    provisioned()
    provisioned(folder=tmp_path / "other")
    (out / "site-1/client.pem").write_bytes((tmp_path / "other/site-1/client.pem").read_bytes())

    report = provisioned()

    assert ["site-1/client.pem is not of this federation's authority; renew it"] == [
        note.removesuffix(" with --reissue site-1") for note in report.notes
    ]


def test_a_key_of_another_authority_signs_nothing(
    out: Path, provisioned: Provision, tmp_path: Path
) -> None:
    provisioned()
    provisioned(folder=tmp_path / "other")
    (out / "ca/ca.key").write_bytes((tmp_path / "other/ca/ca.key").read_bytes())
    (out / "site-1/client.pem").unlink()

    with pytest.raises(SettingsError, match=r"ca\.key is not the key of"):
        provisioned()


@pytest.mark.parametrize("name", ["ca/ca.pem", "site-1/client.pem", "ca/crl.pem"])
def test_a_damaged_file_is_named(out: Path, provisioned: Provision, name: str) -> None:
    provisioned()
    (out / name).write_text("-----BEGIN NOTHING-----\n")

    with pytest.raises(SettingsError, match=name):
        provisioned()


def test_the_list_is_called_what_openssl_calls_it(out: Path, provisioned: Provision) -> None:
    """The broker finds it by that name alone."""
    provisioned()

    command = ["openssl", "x509", "-noout", "-hash", "-in", str(out / "ca/ca.pem")]
    named = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert [f"{named}.r0"] == [path.name for path in (out / "broker/crl").iterdir()]
