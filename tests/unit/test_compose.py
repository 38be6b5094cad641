"""The compose files keep their containers locked, their ports local and to what old Compose reads.

The drill (`make compose-test`) starts them for real.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasuki.settings.federation import FederationFile
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read

FOLDER = Path(__file__).parents[2] / "compose"
TEMPLATES = FOLDER.parent / "services/tasuki_cli/provision/templates"
FILES = sorted(FOLDER.glob("*.yaml"))
STACK: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())  # Any: YAML
SERVICES: dict[str, Any] = STACK["services"]  # Any: YAML
CLUSTER: dict[str, Any] = yaml.safe_load((FOLDER / "cluster.yaml").read_text())[
    "services"
]  # Any: YAML
NODES = {name: service for name, service in CLUSTER.items() if "image" in service}
ALONE: dict[str, Any] = yaml.safe_load((FOLDER / "site.yaml").read_text())["services"]  # Any: YAML
DEFAULT_PORT = re.compile(r"127\.0\.0\.1:\$\{TASUKI_\w+_PORT:-(\d+)\}:\d+")
EPHEMERAL = 32768


def named(service: object) -> str:
    """A short id for a parametrized test."""
    known = {**SERVICES, **NODES, **ALONE}
    return next((name for name, each in known.items() if each is service), "?")


EVERY_SERVICE = pytest.mark.parametrize(
    "service", [*SERVICES.values(), *NODES.values(), *ALONE.values()], ids=named
)


@EVERY_SERVICE
def test_no_container_can_change_its_files_or_gain_a_privilege(service: dict[str, Any]) -> None:
    assert True is service["read_only"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]


@EVERY_SERVICE
def test_a_container_that_is_root_has_no_network_and_ends(service: dict[str, Any]) -> None:
    is_root = service.get("user", "").startswith("0") or "cap_add" in service
    is_alone = service.get("network_mode") == "none" and service.get("restart") == "no"
    assert is_alone or not is_root


@EVERY_SERVICE
def test_ports_are_for_this_machine_alone_and_below_the_ephemeral_ones(
    service: dict[str, Any],
) -> None:
    for port in service.get("ports", []):
        found = DEFAULT_PORT.fullmatch(port)
        assert found, port
        assert int(found[1]) < EPHEMERAL


@EVERY_SERVICE
def test_no_secret_stands_in_a_compose_file(service: dict[str, Any]) -> None:
    names = {name for name in service.get("environment", {}) if re.search("PASS|SECRET|KEY", name)}
    assert not names


def test_a_site_sees_its_own_kit_and_reaches_the_broker_alone() -> None:
    assert True is STACK["networks"]["relay"]["internal"]
    for name in ("site-1", "site-2", "site-3"):
        kits = [each for each in SERVICES[name]["volumes"] if "kit" in each]
        assert [f"kit-{name}:/kit:ro"] == kits
        assert ["relay"] == SERVICES[name]["networks"]


def test_a_site_alone_is_run_as_its_kit_runs_it() -> None:
    (theirs,) = yaml.safe_load((TEMPLATES / "site.compose.yaml").read_text())["services"].values()
    (ours,) = ALONE.values()
    for key in ("init", "shm_size", "tmpfs", "restart", "stop_grace_period", "logging"):
        assert theirs[key] == ours[key], key


def test_the_nodes_of_the_broker_are_alike_and_known_to_all() -> None:
    federation = read(FOLDER / "demo" / "cluster.toml", FederationFile)
    hosts = [node.host for node in federation.broker.nodes]
    assert ["rabbitmq", *NODES] == hosts
    (listed,) = yaml.safe_load((FOLDER / "prometheus" / "nodes-of-three.yml").read_text())
    assert [f"{host}:15692" for host in hosts] == listed["targets"]
    first = {**SERVICES["rabbitmq"], **CLUSTER["rabbitmq"]}
    for node in NODES.values():
        # A stream's replica is tried at each address of its node: all nodes have to reach them all.
        for key in ("image", "user", "networks", "tmpfs", "environment", "stop_grace_period"):
            assert first.get(key) == node[key], key


def test_three_nodes_have_the_sites_of_one() -> None:
    one = read(FOLDER / "demo" / "federation.toml", FederationFile)
    three = read(FOLDER / "demo" / "cluster.toml", FederationFile)
    assert (one.name, one.sites, one.broker.scheme) == (
        three.name,
        three.sites,
        three.broker.scheme,
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_docker_compose_1_29_knows_every_key(path: Path) -> None:
    text = path.read_text()
    for unknown in ("pull_policy", "additional_contexts", "dockerfile_inline", "start_interval"):
        assert unknown not in text
    assert {"name", "include"}.isdisjoint(yaml.safe_load(text))
    assert not re.search(r"\$\{\w+:\+", text)
    assert not re.search(r"\$\{\w+:-[^}]*\$\{", text)  # one within another


def test_the_dockerfile_is_for_the_classic_builder_too() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    for unknown in ("--mount", "--chmod", "--link", "# syntax", "<<"):
        assert unknown not in text


def test_the_demos_files_are_read_and_name_the_same_sites() -> None:
    federation = read(FOLDER / "demo" / "federation.toml", FederationFile)
    run = read(FOLDER / "demo" / "run.toml", RunFile)
    assert "amqps" == federation.broker.scheme
    assert federation.broker.host in SERVICES
    assert set(federation.sites) == {name for name in SERVICES if name.startswith("site-")}
    assert len(federation.sites) < run.params["shards"]  # there is a part for one that joins
    assert tuple(federation.sites) == run.plan(federation.sites).sites
