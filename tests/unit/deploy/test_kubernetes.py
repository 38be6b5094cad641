"""The Kubernetes manifests: what they name exists, in a kit or beside them; they ask for little."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasuki.settings.controller import ENVIRONMENT as CONTROLLER_ENVIRONMENT
from tasuki.settings.site import ENVIRONMENT as SITE_ENVIRONMENT
from tasuki_cli.provision.command import provision

ROOT = Path(__file__).parents[3] / "compose/kubernetes"
OURS = pytest.mark.parametrize("kind", ["site", "controller"])
KITS = {"site": "site-1", "controller": "controller"}
ENVIRONMENTS = {"site": SITE_ENVIRONMENT, "controller": CONTROLLER_ENVIRONMENT}
Manifest = dict[str, Any]  # Any: YAML


def documents(path: Path) -> Iterator[Manifest]:
    yield from yaml.safe_load_all(path.read_text())


def kustomization(kind: str) -> Manifest:
    (found,) = documents(ROOT / kind / "kustomization.yaml")
    return found


def manifests(kind: str) -> list[Manifest]:
    """Everything that the kustomization of this service lists, its base included."""
    found: list[Manifest] = []
    for name in kustomization(kind)["resources"]:
        path = ROOT / kind / name
        is_folder = path.is_dir()
        found += manifests(path.name) if is_folder else documents(path)
    return found


def one(kind: str, of: str) -> Manifest:
    (found,) = (manifest for manifest in manifests(kind) if manifest["kind"] == of)
    return found


def pod(kind: str) -> Manifest:
    found: Manifest = one(kind, "StatefulSet")["spec"]["template"]
    return found


def container(kind: str) -> Manifest:
    (found,) = pod(kind)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def literals(kind: str) -> dict[str, str]:
    (found,) = (
        generator["literals"]
        for generator in kustomization(kind)["configMapGenerator"]
        if generator["name"] == f"tasuki-{kind}-environment"
    )
    return dict(line.split("=", 1) for line in found)


@pytest.fixture
def kits(tmp_path: Path) -> Path:
    path = tmp_path / "federation.toml"
    path.write_text('name = "clinics"\nsites = ["site-1"]\n[broker]\nscheme = "amqps"\n')
    provision(path, out=tmp_path / "kits")
    return tmp_path / "kits"


@OURS
def test_every_name_that_is_referred_to_is_made(kind: str) -> None:
    made = {generator["name"] for generator in kustomization(kind)["configMapGenerator"]}
    made |= {generator["name"] for generator in kustomization(kind)["secretGenerator"]}
    made |= {manifest["metadata"]["name"] for manifest in manifests(kind)}
    spec = pod(kind)["spec"]

    named = {entry["configMapRef"]["name"] for entry in container(kind)["envFrom"]}
    named |= {v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}
    named |= {v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v}
    named |= {spec["serviceAccountName"], one(kind, "StatefulSet")["spec"]["serviceName"]}
    named |= {kustomization(kind)["namespace"]}
    assert set() == named - made
    assert [container(kind)["image"]] == [image["name"] for image in kustomization(kind)["images"]]


@OURS
def test_every_mount_has_its_volume(kind: str) -> None:
    claims = one(kind, "StatefulSet")["spec"]["volumeClaimTemplates"]
    volumes = {volume["name"] for volume in pod(kind)["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in claims}

    mounts = {mount["name"]: mount for mount in container(kind)["volumeMounts"]}
    assert volumes == set(mounts)
    writable = {name for name, mount in mounts.items() if not mount.get("readOnly")}
    assert {"state", "tmp"} <= writable <= {"state", "tmp", "shm"}
    assert mounts["state"]["mountPath"] == literals(kind)[f"TASUKI_{kind.upper()}_FOLDER"]


@OURS
def test_the_secret_is_the_part_of_the_kit_that_the_settings_name(kind: str, kits: Path) -> None:
    (generator,) = kustomization(kind)["secretGenerator"]
    kit = kits / KITS[kind]

    files = {name.removeprefix("kit/") for name in generator["files"]}
    assert all((kit / name).is_file() for name in files)
    settings = (kit / f"{kind}.toml").read_text()
    named = {line.split('"')[1] for line in settings.splitlines() if '_file = "' in line}
    named |= {"ca.pem", "client.pem", "client.key", f"{kind}.toml", "seal.key", "roster.pem"}
    assert named == files
    assert ["tasuki", kind, "--config", f"/kit/{kind}.toml"] == container(kind)["command"]


@OURS
def test_variables_are_ones_that_the_service_reads(kind: str) -> None:
    assert set(literals(kind)) - {"HOME"} <= set(ENVIRONMENTS[kind])


@OURS
def test_probes_ask_the_port_that_the_service_opens(kind: str) -> None:
    (port,) = container(kind)["ports"]
    assert literals(kind)["TASUKI_HTTP_PORT"] == str(port["containerPort"])
    pages = {
        probe: container(kind)[probe]["httpGet"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert {port["name"]} == {page["port"] for page in pages.values()}
    assert "/readyz" == pages["readinessProbe"]["path"]
    # A broker that is away is no reason to kill a trainer.
    assert {"/healthz"} == {pages[p]["path"] for p in ("startupProbe", "livenessProbe")}
    (listening,) = one(kind, "Service")["spec"]["ports"]
    assert (port["containerPort"], port["name"]) == (listening["port"], listening["targetPort"])


@OURS
def test_at_most_one_pod_has_an_identity(kind: str) -> None:
    spec = one(kind, "StatefulSet")["spec"]
    assert 1 == spec["replicas"]
    labels = pod(kind)["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert one(kind, "Service")["spec"]["selector"].items() <= labels.items()


@OURS
def test_a_pod_has_no_rights_that_it_does_not_need(kind: str) -> None:
    spec, inner = pod(kind)["spec"], container(kind)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert 10001 == spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"]
    assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"]
    assert not spec["automountServiceAccountToken"]
    assert not inner["allowPrivilegeEscalation"]
    assert inner["readOnlyRootFilesystem"]
    assert {"drop": ["ALL"]} == inner["capabilities"]
    modes = [v["secret"]["defaultMode"] for v in spec["volumes"] if "secret" in v]
    assert [0o440] == modes


@OURS
def test_the_network_policy_is_about_our_pods_and_lets_out_names_and_the_broker(kind: str) -> None:
    policy = one(kind, "NetworkPolicy")["spec"]
    labels = pod(kind)["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert {"Ingress", "Egress"} == set(policy["policyTypes"])
    ports = [
        (port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]
    ]
    assert [("UDP", 53), ("TCP", 53), ("TCP", 5671)] == ports
    assert all("from" in rule for rule in policy["ingress"])


def test_no_kit_gets_into_the_repository() -> None:
    assert "kit/" in (ROOT / ".gitignore").read_text().splitlines()


# No package that each of our systems has brings a kubectl that is new enough.
if shutil.which("kubectl") is not None:

    @OURS
    def test_kustomize_builds_them_from_a_kit(kind: str, kits: Path, tmp_path: Path) -> None:
        shutil.copytree(ROOT, tmp_path / "kubernetes", ignore=shutil.ignore_patterns("kit"))
        shutil.copytree(kits / KITS[kind], tmp_path / "kubernetes" / kind / "kit")

        command = ["kubectl", "kustomize", str(tmp_path / "kubernetes" / kind)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

        assert (0, "") == (done.returncode, done.stderr)
        made = {m["kind"]: m for m in yaml.safe_load_all(done.stdout)}
        template = made["StatefulSet"]["spec"]["template"]
        selected = made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
        assert selected.items() <= template["metadata"]["labels"].items()
        kit = next(v for v in template["spec"]["volumes"] if v["name"] == "kit")
        assert made["Secret"]["metadata"]["name"] == kit["secret"]["secretName"]
        assert {"client.key", "password"} < set(made["Secret"]["data"])
