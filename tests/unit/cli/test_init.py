"""`tasuki init` writes files that can be begun with, and never over others."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasuki.errors import SettingsError
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read
from tasuki_cli.init.catalogue import TEMPLATES
from tasuki_cli.main import app
from tasuki_site.trainer.source import Source


def init(*words: str | Path) -> str:
    done = CliRunner().invoke(app, ["init", *map(str, words)], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_a_run_file_and_the_trainer_that_it_names(
    template: str, tmp_path: Path
) -> None:
    folder = tmp_path / "My first run_2"
    init(folder, "--template", template)
    run = read(folder / "run.toml", RunFile)
    assert run.name == "my-first-run-2"
    Source(run=run.simulate.trainer or "", folder=folder).check()
    assert (folder / f"{run.weights.initial.partition(':')[0]}.py").is_file()
    assert any("PUT YOUR OWN DATA HERE" in file.read_text() for file in folder.glob("*.py"))


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("mine")
    with pytest.raises(SettingsError, match=r"has train\.py already, and nothing was written"):
        init(tmp_path, "--template", "numpy")
    assert [file.name for file in tmp_path.iterdir()] == ["train.py"]
    assert (tmp_path / "train.py").read_text() == "mine"


def test_a_folder_with_other_files_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    init(tmp_path, "--template", "numpy")
    assert (tmp_path / "run.toml").is_file()


def test_the_command_that_it_ends_with_can_be_copied(tmp_path: Path) -> None:
    folder = tmp_path / "my first run"
    last = init(folder, "--template", "numpy").splitlines()[-1].partition(": ")[2]
    assert ["tasuki", "simulate", str(folder / "run.toml")] == shlex.split(last)


def test_what_cannot_be_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'torch'"):
        init(tmp_path / "new", "--template", "pytorc")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is a file: name a folder"):
        init(tmp_path / "file")
    with pytest.raises(SettingsError, match="tasuki init my-run"):
        init()


def test_the_list_has_every_template_and_what_it_needs() -> None:
    listed = init("--list")
    assert list(TEMPLATES) == [line.split()[0] for line in listed.splitlines()]
    assert "pip install torch lightning" in listed
    rows = json.loads(init("--list", "--json"))["templates"]
    assert list(TEMPLATES) == [row["name"] for row in rows]
