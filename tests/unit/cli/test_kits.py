"""What is in a kit beside secrets: files that start it, and a page for whoever has to allow it."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasuki.core.model import CONTROLLER, WeightsRef
from tasuki.errors import SettingsError
from tasuki.settings.controller import ENVIRONMENT as CONTROLLER_ENVIRONMENT
from tasuki.settings.federation import BROKER
from tasuki.settings.site import ENVIRONMENT as SITE_ENVIRONMENT
from tasuki.settings.site import read_site
from tasuki.weights.chunks import MAX_CHUNK_BYTES, ChunkedFile
from tasuki.wire.messages import MAX_BYTES
from tasuki_cli.provision import files, texts
from tasuki_cli.provision.changes import Changes
from tasuki_cli.provision.command import provision

Service = dict[str, Any]  # Any: YAML
KITS = [BROKER, CONTROLLER, "site-1"]
SERVICES = {"site-1": "site", CONTROLLER: "controller"}
RENDERED = pytest.mark.parametrize(
    "tls", ["", 'scheme = "amqps"\n', 'scheme = "amqps"\nca = "x"\n']
)


def make(
    folder: Path, *, tls: str = 'scheme = "amqps"\n', owner: files.Owner | None = None
) -> Path:
    path = folder / "federation.toml"
    (folder / "x").write_text("certificates")
    path.write_text(
        f'name = "clinics"\nsites = {json.dumps(["site-1"])}\n'
        f'[broker]\nhost = "mq.example"\nport = 7001\n{tls}'
    )
    changes = Changes() if owner is None else Changes(owner=owner)
    provision(path, out=folder / "kits", changes=changes)
    return folder / "kits"


def service_of(out: Path, kit: str) -> Service:
    services = yaml.safe_load((out / kit / "compose.yaml").read_text())["services"]
    (found,) = services.values()
    assert isinstance(found, dict)
    return found


@RENDERED
def test_no_gap_is_left_in_any_file(tmp_path: Path, tls: str) -> None:
    out = make(tmp_path, tls=tls)

    for path in out.rglob("*"):
        if path.is_file():
            assert "{{" not in path.read_text(), path


def test_a_gap_without_a_value_is_our_bug() -> None:
    with pytest.raises(KeyError):
        texts.render("site.toml", {"name": "site-1"})


@RENDERED
def test_containers_have_no_rights_that_they_do_not_need(tmp_path: Path, tls: str) -> None:
    out = make(tmp_path, tls=tls)

    for kit in KITS:
        service = service_of(out, kit)
        assert ["ALL"] == service["cap_drop"]
        assert ["no-new-privileges:true"] == service["security_opt"]
        assert kit == "broker" or {"core": 0} == service["ulimits"]
        assert "${TASUKI_UID:-1000}:${TASUKI_GID:-1000}" == service["user"]
        assert "unless-stopped" == service["restart"]
        assert service["healthcheck"]["test"][0] == "CMD"
        assert {"max-size", "max-file"} == set(service["logging"]["options"])
        assert "privileged" not in service
        assert "network_mode" not in service
    for kit in SERVICES:
        assert service_of(out, kit)["read_only"] is True


def test_a_site_mounts_its_data_and_its_kit_read_only_and_opens_no_port(tmp_path: Path) -> None:
    service = service_of(make(tmp_path), "site-1")

    mounts = {mount.rsplit(":", 1)[0]: mount for mount in service["volumes"]}
    writable = [mount for mount in mounts.values() if not mount.endswith(":ro")]
    assert ["./state:/var/lib/tasuki"] == writable
    assert ".:/kit:ro" in service["volumes"]
    assert "${TASUKI_DATA:-./data}:/data:ro" in service["volumes"]
    assert "ports" not in service


def test_the_doors_of_controller_and_management_are_this_machine_s(tmp_path: Path) -> None:
    out = make(tmp_path)

    assert ["127.0.0.1:8470:8470"] == service_of(out, CONTROLLER)["ports"]
    assert ["7001:7001", "127.0.0.1:15671:15671"] == service_of(out, BROKER)["ports"]
    conf = (out / "broker/rabbitmq.conf").read_text()
    assert "listeners.ssl.default = 7001" in conf
    assert "management.ssl.port = 15671" in conf


def test_the_broker_takes_what_a_service_sends_and_nothing_that_is_much_larger(
    tmp_path: Path,
) -> None:
    conf = (make(tmp_path) / "broker/rabbitmq.conf").read_text()
    (limit,) = re.findall(r"^max_message_size = (\d+)$", conf, re.MULTILINE)

    path = tmp_path / "weights"
    path.write_bytes(bytes(MAX_CHUNK_BYTES))
    weights = WeightsRef(digest=f"blake3:{0:064x}", size=MAX_CHUNK_BYTES)
    with ChunkedFile(
        path, transfer=bytes(16), weights=weights, chunk_bytes=MAX_CHUNK_BYTES
    ) as chunks:
        largest = sum(map(len, chunks[0]))
    assert MAX_BYTES <= largest <= int(limit) < 1.1 * MAX_BYTES


@pytest.mark.parametrize(
    ("kit", "known"), [("site-1", SITE_ENVIRONMENT), (CONTROLLER, CONTROLLER_ENVIRONMENT)]
)
def test_variables_are_ones_that_the_service_reads(
    tmp_path: Path, kit: str, known: dict[str, object]
) -> None:
    out = make(tmp_path)

    named = set(service_of(out, kit)["environment"])
    unit = (out / kit / f"tasuki-{SERVICES[kit]}.service").read_text()
    named |= set(re.findall(r"\b(TASUKI_\w+)=", unit))
    assert named - {"HOME"} <= set(known)


def test_what_is_mounted_is_in_the_kit_and_belongs_to_the_container_s_user(tmp_path: Path) -> None:
    me = files.Owner(uid=os.getuid(), gid=os.getgid())
    out = make(tmp_path, owner=me)

    for kit in KITS:
        assert f"TASUKI_UID={me.uid}\nTASUKI_GID={me.gid}\n" in (out / kit / ".env").read_text()
        for path in [out / kit, *(out / kit).rglob("*")]:
            assert (me.uid, me.gid) == (path.stat().st_uid, path.stat().st_gid), path
        assert (out / kit / "state").is_dir()
    assert (out / "site-1/trainers").is_dir()
    assert (out / "site-1/data").is_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_root_gives_the_kits_to_the_images_user_and_keeps_the_authority(tmp_path: Path) -> None:
    out = make(tmp_path)

    assert "TASUKI_UID=10001\n" in (out / "site-1/.env").read_text()
    assert {10001} == {path.stat().st_uid for path in (out / "site-1").rglob("*")}
    assert {0} == {
        path.stat().st_uid for name in ("ca", "operator") for path in (out / name).rglob("*")
    }


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_kit_keeps_its_owner_when_it_is_renewed(tmp_path: Path) -> None:
    out = make(tmp_path, owner=files.Owner(uid=1234, gid=1235))

    provision(tmp_path / "federation.toml", out=out, changes=Changes(reissue="site-1"))

    for name in ("password", "client.key", "client.pem", "ca.pem"):
        assert files.Owner(uid=1234, gid=1235) == files.owner_of(out / "site-1" / name)


@pytest.mark.parametrize("owner", ["root", "-1", "10:", "10:x"])
def test_an_owner_that_is_no_number_is_an_error(owner: str) -> None:
    with pytest.raises(SettingsError, match="--owner"):
        Changes.from_options(reissue=None, revoke=None, owner=owner)


def test_an_owner_without_a_group_has_the_group_of_the_same_number() -> None:
    changes = Changes.from_options(reissue=None, revoke=None, owner="1234")

    assert files.Owner(uid=1234, gid=1234) == changes.owner


@pytest.mark.parametrize("kit", SERVICES)
def test_the_unit_starts_the_kit_s_settings_with_few_rights(tmp_path: Path, kit: str) -> None:
    out = make(tmp_path)
    kind = SERVICES[kit]

    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(out / kit / f"tasuki-{kind}.service")
    service = unit["Service"]
    expected = f"/opt/tasuki/bin/tasuki {kind} --config /etc/tasuki/{kit}/{kind}.toml"
    assert expected == service["ExecStart"]
    assert (out / kit / f"{kind}.toml").is_file()
    assert ("mixed", "always") == (service["KillMode"], service["Restart"])
    assert f"{SettingsError.exit_code}" == service["RestartPreventExitStatus"]
    assert ("strict", "true") == (service["ProtectSystem"], service["NoNewPrivileges"])
    assert "" == service["CapabilityBoundingSet"]
    assert "0" == service["LimitCORE"]
    state = f"/var/lib/{service['StateDirectory']}"
    variables = dict(entry.split("=", 1) for entry in service["Environment"].split())
    assert state == variables[f"TASUKI_{kind.upper()}_FOLDER"] == service["ReadWritePaths"]


@pytest.mark.parametrize("kit", SERVICES)
def test_the_unit_is_installed_from_our_wheel_with_extras_that_it_has(
    tmp_path: Path, kit: str
) -> None:
    text = (make(tmp_path) / kit / f"tasuki-{SERVICES[kit]}.service").read_text()
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]

    (extras,) = re.findall(r'pip install "\$\(echo \./tasuki-\*\.whl\)\[(.+)\]"', text)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_two_units_on_one_machine_share_neither_secrets_nor_state(tmp_path: Path) -> None:
    out = make(tmp_path)

    folders = set()
    for kit, kind in SERVICES.items():
        text = (out / kit / f"tasuki-{kind}.service").read_text()
        (copied,) = re.findall(r"cp -r \. (\S+)", text)
        (read,) = re.findall(r"--config (\S+)/\w+\.toml", text)
        (state,) = re.findall(r"StateDirectory=(\S+)", text)
        assert copied == read
        folders |= {read, state}
    assert 2 * len(SERVICES) == len(folders)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("kit", SERVICES)
def test_systemd_takes_the_unit(tmp_path: Path, kit: str) -> None:
    out = make(tmp_path)
    text = (out / kit / f"tasuki-{SERVICES[kit]}.service").read_text()
    unit = tmp_path / "tasuki-test.service"
    unit.write_text(text.replace("/opt/tasuki/bin/tasuki", "/bin/true"))

    command = ["systemd-analyze", "verify", str(unit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (0, []) == (done.returncode, complaints)


@RENDERED
def test_the_page_says_what_runs_what_leaves_and_the_one_port(tmp_path: Path, tls: str) -> None:
    page = (make(tmp_path, tls=tls) / "site-1/README.md").read_text()

    for heading in ("## What runs", "## What leaves the site", "## What the firewall has to allow"):
        assert heading in page
    assert "One outgoing TCP connection, to `mq.example` port 7001" in page
    assert "Nothing comes in." in page
    assert len(page.splitlines()) <= 60
    assert ("not encrypted" in page) == (tls == "")


def test_a_trainer_in_the_kit_is_found_where_the_settings_say(tmp_path: Path) -> None:
    out = make(tmp_path)
    text = (out / "site-1/site.toml").read_text()
    lines = [
        line.removeprefix("# ")
        for line in text.splitlines()
        if "trainers" in line or "run =" in line
    ]
    (out / "site-1/site.toml").write_text(text + "\n" + "\n".join(lines))

    (trainer,) = read_site(out / "site-1/site.toml", {}).trainers.values()

    assert out / "site-1/trainers" == trainer.folder
    assert "train.py" == trainer.run


def test_the_broker_s_files_name_only_each_other(tmp_path: Path) -> None:
    out = make(tmp_path)

    text = (out / "broker/rabbitmq.conf").read_text() + (out / "broker/advanced.config").read_text()
    named = re.findall(r"/etc/rabbitmq/([\w./]+)", text)
    assert {"definitions.json", "ca.pem", "server.pem", "server.key", "crl"} == set(named)
    assert all((out / "broker" / name).exists() for name in named)
    assert [".r0"] == [path.suffix for path in (out / "broker/crl").iterdir()]
