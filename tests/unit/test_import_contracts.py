"""The import contracts hold, and each turns red when it is broken."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "shared/tasuki/core"
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
CONTRACTS = {contract["id"]: contract["name"] for contract in SETTINGS["contracts"]}

# Which contract must catch it, where it is put, and what is put there.
VIOLATIONS = (
    ("layers", "services/tasuki_controller/service.py", "import tasuki_site.service"),
    ("layers", "services/tasuki_site/service.py", "import tasuki_controller.service"),
    ("layers", "services/tasuki_site/service.py", "import tasuki_cli.main"),
    ("layers", "services/tasuki_cli/records.py", "import tasuki_python.run"),
    ("layers", "shared/tasuki/transport/memory.py", "import tasuki_controller.service"),
    ("layers", "shared/tasuki/wire/messages.py", "import tasuki.transport.memory"),
    ("layers", "shared/tasuki/weights/spool.py", "import tasuki.transport.memory"),
    ("layers", "shared/tasuki/wire/messages.py", "import tasuki.weights.chunks"),
    ("layers", "shared/tasuki/disk/errors.py", "import tasuki.weights.spool"),
    ("layers", "shared/tasuki/broker/nodes.py", "import tasuki.settings.broker"),
    ("layers", "shared/tasuki/settings/broker.py", "import tasuki.transport.memory"),
    ("layers", "shared/tasuki/disk/writing.py", "import tasuki.core.model"),
    ("layers", "shared/tasuki/core/model.py", "import tasuki.disk.errors"),
    ("layers", "shared/tasuki/ports.py", "import tasuki.wire.names"),
    ("layers", "shared/tasuki/core/run/machine.py", "import tasuki.wire.messages"),
    ("site", "services/tasuki_site/trainer/pool.py", "import tasuki_site.journal"),
    ("site", "services/tasuki_site/trainer/source.py", "import tasuki_site.model_files.initial"),
    ("site", "services/tasuki_site/tensors/tied.py", "import tasuki_site.trainer.request"),
    ("core", "shared/tasuki/core/turn/machine.py", "import time"),
    ("core", "shared/tasuki/core/order/draws.py", "import random"),
    ("core", "shared/tasuki/core/model.py", "import pydantic"),
    (
        "followers",
        "services/tasuki_controller/followers/watch.py",
        "import tasuki.transport.memory",
    ),
    (
        "followers",
        "services/tasuki_controller/followers/follower.py",
        "import tasuki_controller.service",
    ),
    ("pika", "services/tasuki_site/service.py", "import pika"),
    ("pika", "shared/tasuki/transport/memory.py", "from pika import spec"),
    ("msgpack", "shared/tasuki/transport/memory.py", "import msgpack"),
    ("msgpack", "services/tasuki_site/journal.py", "import msgpack"),
    ("torch", "services/tasuki_controller/service.py", "import torch"),
    ("torch", "services/tasuki_site/service.py", "import torch"),
    ("torch", "shared/tasuki/flare/api.py", "import torch"),
    ("prometheus", "services/tasuki_controller/service.py", "import prometheus_client"),
    ("layers", "services/tasuki_controller/service.py", "import tasuki_report"),
    ("report-numbers", "services/tasuki_report/numbers/curves.py", "import tasuki_report.page"),
    ("report-page", "services/tasuki_report/page/view.py", "import plotly"),
    ("pickle", "shared/tasuki/wire/messages.py", "import pickle"),
    ("pickle", "shared/tasuki/weights/spool.py", "import cloudpickle"),
    ("pickle", "services/tasuki_site/service.py", "import pickle"),
    ("pickle", "services/tasuki_python/run.py", "import cloudpickle"),
)


def test_the_tree_keeps_every_contract() -> None:
    done = _lint(ROOT)

    assert done.returncode == 0, done.stdout
    assert [f"{name} KEPT" in done.stdout for name in CONTRACTS.values()] == [True] * len(CONTRACTS)


def test_there_is_a_violation_for_every_contract() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == set(CONTRACTS)


@pytest.mark.parametrize(("contract", "path", "statement"), VIOLATIONS)
def test_a_broken_contract_is_named(
    tmp_path: Path, contract: str, path: str, statement: str
) -> None:
    _copy(tmp_path)
    with (tmp_path / path).open("a") as module:
        module.write(f"\n{statement}\n")

    done = _lint(tmp_path)

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{CONTRACTS[contract]} BROKEN" in done.stdout


@pytest.mark.parametrize(
    "path", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE))
)
def test_the_core_imports_only_itself_and_the_standard_library(path: Path) -> None:
    imported = {name for name in _imports(path) if not name.startswith("tasuki.core")}

    assert {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names} == set()


def test_no_folder_comes_back_to_itself() -> None:
    assert set() == _circles(ROOT)


def test_a_circle_that_the_linter_permits_is_found(tmp_path: Path) -> None:
    _copy(tmp_path)
    with (tmp_path / "services/tasuki_cli/doctor/answer.py").open("a") as module:
        module.write("\ndef later() -> None:\n    from tasuki_cli import main\n")

    assert _lint(tmp_path).returncode == 0
    way = {"tasuki_cli.main", "tasuki_cli.local_commands", "tasuki_cli.doctor"}
    assert way == _circles(tmp_path)


def _circles(tree: Path) -> set[str]:
    """The folders that import what imports them, be it by way of others."""
    modules = dict(_modules(tree))
    reached: dict[str, set[str]] = {}
    for name, path in modules.items():
        folder = _folder(name, modules)
        for imported in filter(modules.__contains__, _imports(path)):
            reached.setdefault(folder, set()).update({_folder(imported, modules)} - {folder})
    while reached != (further := {folder: _on(reached, folder) for folder in reached}):
        reached = further
    return {folder for folder, all_of_them in reached.items() if folder in all_of_them}


def _on(reached: Mapping[str, set[str]], folder: str) -> set[str]:
    return reached[folder].union(*(reached.get(each, set()) for each in reached[folder]))


def _modules(tree: Path) -> Iterator[tuple[str, Path]]:
    for part in ("shared", "services"):
        for path in (tree / part).rglob("*.py"):
            names = path.relative_to(tree / part).with_suffix("").parts
            if "templates" not in names:  # files for users
                yield ".".join(names).removesuffix(".__init__"), path


def _folder(module: str, modules: Mapping[str, Path]) -> str:
    """What puts a service together, or serves all its folders, lies beside them and is its own."""
    is_own = modules[module].name == "__init__.py" or module.count(".") == 1
    return module if is_own else module.rpartition(".")[0]


def _copy(tree: Path) -> None:
    for part in ("shared", "services"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a tree, which comes before whatever is installed."""
    paths = os.pathsep.join(str(tree / part) for part in ("shared", "services"))
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
