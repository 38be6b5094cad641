"""The wheel, not the checkout: it installs bare, and the controller imports without torch."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)  # builds and installs: the network may be slow

ROOT = Path(__file__).parents[2]

# Imports every module of a package and then says what else came along.
_IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(*sorted({"torch", "torchvision"} & set(sys.modules)))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT)
    (built,) = folder.glob("tasuki-*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel, what it requires, and nothing else."""
    return _environment(tmp_path_factory.mktemp("bare"), str(wheel))


@pytest.fixture(scope="module")
def controller(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with what a controller's machine has besides."""
    return _environment(tmp_path_factory.mktemp("controller"), f"{wheel}[controller]")


def test_a_bare_install_has_no_torch(bare: Path) -> None:
    installed = _run(bare / "python", "-m", "pip", "list", "--format=freeze")

    assert "tasuki==" in installed
    assert "torch" not in installed


def test_controller_and_messages_import_without_torch(bare: Path) -> None:
    _run(bare / "python", "-c", "import tasuki_controller, tasuki.wire.messages")


def test_no_module_of_the_controller_asks_for_torch(controller: Path) -> None:
    assert _run(controller / "python", "-c", _IMPORT_ALL, "tasuki_controller").split() == []


def test_every_module_imports_without_torch(controller: Path) -> None:
    packages = ("tasuki", "tasuki_site", "tasuki_report", "tasuki_cli", "tasuki_python")

    assert _run(controller / "python", "-c", _IMPORT_ALL, *packages).split() == []


def test_the_command_is_installed(bare: Path) -> None:
    assert "simulate" in _run(bare / "tasuki", "--help")


def test_the_types_are_shipped(wheel: Path) -> None:
    names = _run(sys.executable, "-m", "zipfile", "-l", wheel)

    services = ("controller", "site", "report", "cli", "python")
    for package in ("tasuki", *(f"tasuki_{each}" for each in services)):
        assert f"{package}/py.typed" in names


def _environment(folder: Path, what: str) -> Path:
    venv.create(folder, with_pip=True)
    _run(folder / "bin/python", "-m", "pip", "install", "--quiet", what)
    return folder / "bin"


def _run(*command: str | Path) -> str:
    """What it prints; its errors are the test's."""
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        env=outside,
        cwd=ROOT.anchor,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
