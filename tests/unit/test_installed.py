"""What is told to whoever lacks one of the extras: a command, and never a name that is not ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasuki.installed import command_for

ORIGINS: list[tuple[Mapping[str, Any], str]] = [  # Any: PEP 610
    ({"url": "file:///srv/tasuki", "dir_info": {"editable": True}}, "-e '/srv/tasuki[operator]'"),
    ({"url": "file:///srv/tasuki", "dir_info": {}}, "'/srv/tasuki[operator]'"),
    (
        {"url": "file:///srv/my%20own/tasuki-0.1.0-py3-none-any.whl", "archive_info": {}},
        "'/srv/my own/tasuki-0.1.0-py3-none-any.whl[operator]'",
    ),
    (
        {"url": "https://git.example/t", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
        "'tasuki[operator] @ git+https://git.example/t@abc'",
    ),
    (
        {"url": "https://files.example/tasuki-0.1.0-py3-none-any.whl", "archive_info": {}},
        "'tasuki[operator] @ https://files.example/tasuki-0.1.0-py3-none-any.whl'",
    ),
]


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, origin: object, *, by: str = "pip"
) -> None:
    """As the installer notes it, before any other Tasuki on the path."""
    note = folder / "tasuki-0.1.0.dist-info"
    note.mkdir()
    (note / "METADATA").write_text("Metadata-Version: 2.1\nName: tasuki\nVersion: 0.1.0\n")
    (note / "INSTALLER").write_text(f"{by}\n")
    if origin is not None:
        (note / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(folder)


@pytest.mark.parametrize(("origin", "wanted"), ORIGINS)
def test_an_extra_comes_from_where_tasuki_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Mapping[str, Any], wanted: str
) -> None:
    """Bug: messages named a package of a public index, where the name is not ours."""
    install(tmp_path, monkeypatch, origin)
    assert f"{sys.executable} -m pip install {wanted}" == command_for("operator")


def test_one_that_came_from_an_index_by_its_name_gets_the_same_version_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, None)
    assert command_for("tls").endswith("-m pip install 'tasuki[tls]==0.1.0'")


def test_whoever_installs_with_uv_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, ORIGINS[0][0], by="uv")
    assert command_for("tls") == f"uv pip install --python {sys.executable} -e '/srv/tasuki[tls]'"


def test_no_message_of_ours_names_the_package_in_an_index() -> None:
    root = Path(__file__).parents[2]
    folders = [root / name for name in ("shared", "services", "examples")]
    texts = {path: path.read_text() for folder in folders for path in folder.rglob("*.py")}
    assert [] == [path for path, text in texts.items() if "tasuki[" in text]
