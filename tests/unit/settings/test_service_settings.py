"""site.toml and controller.toml: paths, the environment, secrets, and what is wrong with them."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from tasuki.errors import SettingsError
from tasuki.settings.controller import PORT, read_controller
from tasuki.settings.federation import FederationFile
from tasuki.settings.run import RunFile
from tasuki.settings.site import SiteSettings, read_site
from tasuki.settings.toml import parse, read

SITE = """
name = "site-1"
{top}
[broker]
url = "amqps://site-1@broker.example:5671/federation"
password_file = "secrets/password"
{broker}
[trainers.cifar10]
run = "train.py"
{bottom}
"""
CONTROLLER = """
[broker]
url = "amqp://controller@broker.example/federation"
password_file = "/run/secrets/password"
"""


def site(folder: Path, *, top: str = "", broker: str = "", bottom: str = "") -> Path:
    path = folder / "site.toml"
    path.write_text(SITE.format(top=top, broker=broker, bottom=bottom))
    return path


def test_relative_paths_are_seen_from_the_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site(tmp_path, bottom='[data]\npath = "images"')
    monkeypatch.chdir("/")
    settings = read_site(path, {})
    assert settings.broker.password_file == tmp_path / "secrets/password"
    assert settings.trainers["cifar10"].folder == tmp_path
    assert settings.folder == tmp_path / ".tasuki-site"
    assert settings.data.path == tmp_path / "images"


def test_the_data_of_a_simulation_is_seen_from_the_run_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'name = "r"\ntrainer = "t"\n[weights]\ninitial = "m:f"\n[simulate]\ndata = "scans"\n'
    )
    monkeypatch.chdir("/")
    assert read(path, RunFile).simulate.data == tmp_path / "scans"


def test_absolute_paths_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "controller.toml"
    path.write_text(CONTROLLER)
    settings = read_controller(path, {})
    assert settings.broker.password_file == Path("/run/secrets/password")
    assert settings.http.port == PORT


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environment = {
        "TASUKI_SITE_NAME": "site-9",
        "TASUKI_BROKER_URL": "amqp://site-9@elsewhere/",
        "TASUKI_HTTP_PORT": "8471",
        "TASUKI_SITE_FOLDER": "journal",
        "PATH": "/bin",
    }
    settings = read_site(site(tmp_path), environment)
    assert settings.name == "site-9"
    assert settings.broker.user == "site-9"
    assert settings.http.port == 8471
    assert settings.folder == tmp_path / "journal"


def test_a_password_comes_from_its_file_and_shows_nowhere(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/password").write_text("hunter2\n")
    settings = read_site(site(tmp_path), {})
    assert settings.broker.password() == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()


WRONG = [
    ({"TASUKI_BROKER_URL": "amqp://site-1:hunter2@b/"}, "password_file"),
    ({"TASUKI_BROKER_URL": "http://site-1@b/"}, "amqp[s]://user@host[:port]/vhost"),
    ({"TASUKI_BROKER_URL": "amqp://b/"}, "amqp[s]://user@host[:port]/vhost"),
    ({"TASUKI_SITE_NAME": "site-2"}, "has to be the user of its broker url"),
    ({"TASUKI_SITE_NAME": "controller"}, "no site can be called 'controller'"),
    ({"TASUKI_SITE_NAME": "Site One"}, "use 1 to 63 of"),
    ({"TASUKI_HTTP_PORT": "many"}, "from the environment: http.port"),
]


@pytest.mark.parametrize(("environment", "says"), WRONG)
def test_wrong_settings_are_explained_without_a_password(
    tmp_path: Path, environment: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        read_site(site(tmp_path), environment)
    assert says in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_every_wrong_key_is_reported_at_once(tmp_path: Path) -> None:
    path = site(tmp_path, top="concurrency = 0", broker="heart = 3\nca = 5")
    with pytest.raises(SettingsError) as raised:
        read_site(path, {})
    message = str(raised.value)
    assert "line 3: concurrency" in message
    assert "unknown key 'broker.heart'" in message
    assert "broker.ca" in message


@pytest.mark.parametrize("given", ["broker = 3", "[[broker]]\nurl = 'a'"])
def test_what_is_given_in_place_of_a_table_is_told_how_to_write_one(given: str) -> None:
    """Bug: a class of ours was named."""
    with pytest.raises(
        SettingsError, match=r"broker is a table: write \[broker\], and under it url"
    ):
        parse(given, SiteSettings, name="site.toml")


@pytest.mark.parametrize(
    ("key", "says"), [("foldr", "did you mean 'folder'?"), ("x", "known here: run, folder")]
)
def test_an_unknown_key_of_a_trainer_is_told_with_those_that_trainers_have(
    tmp_path: Path, key: str, says: str
) -> None:
    path = site(tmp_path, bottom=f'[trainers.other]\nrun = "a.py"\n{key} = "b"')
    with pytest.raises(SettingsError) as raised:
        read_site(path, {})
    assert f"line 12: unknown key 'trainers.other.{key}'; {says}" in str(raised.value)


def test_what_is_wrong_with_two_keys_together_stands_alone(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"site\.toml:\n  site 'site-9' has to be the user"):
        read_site(site(tmp_path), {"TASUKI_SITE_NAME": "site-9"})


def test_a_missing_or_empty_password_file_is_named(tmp_path: Path) -> None:
    settings = read_site(site(tmp_path), {})
    with pytest.raises(SettingsError, match="secrets/password cannot be read"):
        settings.broker.password()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/password").write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        settings.broker.password()


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    settings = read_site(site(tmp_path, broker='ca = "ca.pem"'), {})
    with pytest.raises(SettingsError, match=r"ca: .*ca\.pem cannot be read: No such file"):
        settings.broker.tls()
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match=r"ca\.pem holds no PEM certificate"):
        settings.broker.tls()


def test_our_own_certificate_can_be_set_by_the_environment(tmp_path: Path) -> None:
    environment = {"TASUKI_BROKER_CERT": "/run/c.pem", "TASUKI_BROKER_KEY": "k.pem"}
    table = read_site(site(tmp_path), environment).broker
    assert table.cert == Path("/run/c.pem")
    assert table.key == tmp_path / "k.pem"


@pytest.mark.parametrize("name", ["cert", "key"])
def test_a_certificate_without_its_key_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="give both or none"):
        read_site(site(tmp_path, broker=f'{name} = "x.pem"'), {})


def test_a_certificate_for_plain_text_is_an_error(tmp_path: Path) -> None:
    path = site(tmp_path, broker='cert = "c.pem"\nkey = "k.pem"')
    path.write_text(path.read_text().replace("amqps:", "amqp:"))
    with pytest.raises(SettingsError, match="would prove nothing"):
        read_site(path, {})


def test_whichever_of_certificate_and_key_is_not_there_is_named(tmp_path: Path) -> None:
    settings = read_site(site(tmp_path, broker='cert = "c.pem"\nkey = "k.pem"'), {})
    with pytest.raises(SettingsError, match=r"cert: .*c\.pem cannot be read: No such file"):
        settings.broker.tls()
    (tmp_path / "c.pem").touch()
    with pytest.raises(SettingsError, match=r"key: .*k\.pem cannot be read: No such file.*; put"):
        settings.broker.tls()


def test_an_encrypted_key_is_refused_and_nobody_asked(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-passout", "pass:secret", "-subj", "/CN=site-1", "-days", "1"]
    command += ["-keyout", str(tmp_path / "k.pem"), "-out", str(tmp_path / "c.pem")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    settings = read_site(site(tmp_path, broker='cert = "c.pem"\nkey = "k.pem"'), {})
    with pytest.raises(SettingsError, match="unencrypted key"):
        settings.broker.tls()


def test_tls_is_1_2_or_newer_and_looks_at_the_host_s_name(tmp_path: Path) -> None:
    context = read_site(site(tmp_path), {}).broker.tls()
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_secrets_that_everyone_can_read_are_named(tmp_path: Path) -> None:
    table = read_site(site(tmp_path, broker='cert = "c.pem"\nkey = "k.pem"'), {}).broker
    (tmp_path / "secrets").mkdir()
    assert table.secrets_of_all() == []
    for path, mode in ((tmp_path / "k.pem", 0o644), (table.password_file, 0o640)):
        path.touch()
        path.chmod(mode)
    assert table.secrets_of_all() == [tmp_path / "k.pem"]


def test_a_site_needs_little() -> None:
    broker = {"url": "amqp://site-1@b/", "password_file": "p"}
    settings = SiteSettings.model_validate({"name": "site-1", "broker": broker})
    assert settings.broker.tls() is None
    assert settings.http.port is None


HOSTS = ["", "ho st", "a..b", "127.0.0.1:8471", "[::1]", "http://a", "::1:x"]


@pytest.mark.parametrize("host", HOSTS)
def test_where_a_service_is_to_listen_is_looked_at_with_the_settings(
    tmp_path: Path, host: str
) -> None:
    with pytest.raises(SettingsError, match=r"http\.host: .*no host name"):
        read_site(site(tmp_path), {"TASUKI_HTTP_HOST": host})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "localhost", "site_1.example"])  # noqa: S104
def test_a_service_may_listen_at_an_address_or_a_name(tmp_path: Path, host: str) -> None:
    assert host == read_site(site(tmp_path), {"TASUKI_HTTP_HOST": host}).http.host


MANAGEMENT = [
    "https://localhost:99999",
    "https://localhost:port",
    "http://[::1",
    "http://ho st",
    "localhost:15671",
    "https://admin@localhost",
]


@pytest.mark.parametrize("url", MANAGEMENT)
def test_a_management_address_that_cannot_be_is_told_with_the_settings(
    tmp_path: Path, url: str
) -> None:
    """Bug: a port that cannot be was a traceback, once the files were written."""
    path = tmp_path / "federation.toml"
    path.write_text(f'name = "f"\nsites = ["a", "b"]\n[broker]\nmanagement = "{url}"\n')
    with pytest.raises(SettingsError, match=r"line 4: broker\.management: "):
        read(path, FederationFile)


def test_a_byte_order_mark_is_no_part_of_a_key_or_of_a_password(tmp_path: Path) -> None:
    """Bug: the first key of a file that Windows wrote was unknown, and its passwords wrong."""
    path = site(tmp_path)
    path.write_text(path.read_text().strip(), encoding="utf-8-sig")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/password").write_bytes("hunter2\r\n".encode("utf-8-sig"))
    settings = read_site(path, {})
    assert ("site-1", "hunter2") == (settings.name, settings.broker.password())


def test_a_file_in_utf_16_is_told_as_that(tmp_path: Path) -> None:
    path = site(tmp_path)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/password").write_text("hunter2", encoding="utf-16")
    with pytest.raises(SettingsError, match="UTF-16; save it as UTF-8"):
        read_site(path, {}).broker.password()
    path.write_text(path.read_text(), encoding="utf-16")
    with pytest.raises(SettingsError, match="UTF-16; save it as UTF-8"):
        read_site(path, {})


def test_a_secret_s_file_holds_one_line(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/password").write_text("hunter2\n# of site-1\n")
    with pytest.raises(SettingsError, match="several lines") as raised:
        read_site(site(tmp_path), {}).broker.password()
    assert "hunter2" not in str(raised.value)
