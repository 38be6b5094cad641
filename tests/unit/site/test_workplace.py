"""A simulated site's folder is its own, and what lies beside the trainer is found in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tasuki.core.model import Task
from tasuki_controller.data_folder import DataFolder
from tasuki_site.trainer import workplace
from tasuki_site.trainer.workplace import LEDGER, Workplaces


def workplaces(folder: Path) -> Workplaces:
    return Workplaces(
        beside=folder / "code",
        folder=folder / "code" / "data" / "sites",
        apart=folder / "code/data",
    )


@pytest.fixture(autouse=True)
def code(tmp_path: Path) -> Path:
    """What lies beside a trainer: small, large, nested, and the data folder itself."""
    code = tmp_path / "code"
    (code / "config").mkdir(parents=True)
    (code / "labels.json").write_text("labels")
    (code / "config" / "net.toml").write_text("net")
    (code / "large.npz").write_bytes(bytes(workplace.COPIED_BYTES + 1))
    (code / "images").mkdir()
    for index in range(workplace.COPIED_ENTRIES + 1):
        (code / "images" / f"{index}.png").touch()
    return code


def test_files_beside_the_trainer_are_found(tmp_path: Path, code: Path) -> None:
    place = workplaces(tmp_path).prepare("a")
    assert "labels" == (place / "labels.json").read_text()
    assert "net" == (place / "config" / "net.toml").read_text()
    assert (place / "large.npz").samefile(code / "large.npz")
    assert (place / "images" / "7.png").exists()
    assert not (place / "data").exists()


def test_what_one_site_writes_no_other_finds(tmp_path: Path, code: Path) -> None:
    places = workplaces(tmp_path)
    mine, other = places.prepare("a"), places.prepare("b")
    (mine / "checkpoint.pt").write_text("a's")
    (mine / "labels.json").write_text("a's")
    (mine / "config" / "net.toml").write_text("a's")
    assert not (other / "checkpoint.pt").exists()
    for folder in (other, code):
        assert "labels" == (folder / "labels.json").read_text()
        assert "net" == (folder / "config" / "net.toml").read_text()
    assert [] == places.written_to()


def test_whatever_lies_beside_the_trainer_it_has_its_folder(tmp_path: Path, code: Path) -> None:
    """Bug: a link to itself ended the simulation with a traceback."""
    (code / "loop").symlink_to("loop")
    (code / "nowhere").symlink_to("/nowhere/at/all")
    (code / ("n" * 255)).touch()
    os.mkfifo(code / "fifo")
    place = workplaces(tmp_path).prepare("a")
    for name in ("loop", "nowhere", "fifo"):
        assert (place / name).is_symlink()
    assert (place / ("n" * 255)).is_file()


def test_what_tasuki_keeps_is_no_file_of_the_trainers(tmp_path: Path, code: Path) -> None:
    """Bug: each site got a copy of every ledger, and of what the sites of other runs had got."""
    for folder in (code, code / "of another run"):
        (folder / "runs" / "r").mkdir(parents=True)
        for name in (LEDGER, f"{LEDGER}-wal", "lock"):
            (folder / name).touch()
    (code / "config" / "runs").mkdir()
    place = workplaces(tmp_path).prepare("a")
    assert {"config", "images", "labels.json", "large.npz"} == {
        each.name for each in place.iterdir()
    }
    assert (place / "config" / "runs").is_dir()


def test_a_file_that_is_gone_before_the_next_site_copies_it_is_not_missed(
    tmp_path: Path, code: Path
) -> None:
    (code / ".swp").touch()
    places = workplaces(tmp_path)
    places.prepare("a")
    (code / ".swp").unlink()
    assert not (places.prepare("b") / ".swp").exists()


def test_a_folder_that_its_site_removed_is_there_for_its_next_turn(tmp_path: Path) -> None:
    places = workplaces(tmp_path)
    shutil.rmtree(places.prepare("a"))
    assert "labels" == (places.prepare("a") / "labels.json").read_text()


def test_who_writes_to_what_all_share_is_told_once(tmp_path: Path) -> None:
    places = workplaces(tmp_path)
    place = places.prepare("a")
    (place / "large.npz").write_bytes(b"smaller")
    (place / "images" / "new.png").touch()
    assert ["images", "large.npz"] == places.written_to()
    assert [] == places.written_to()


def test_a_resumed_run_finds_what_the_site_wrote_and_what_was_mended_beside_it(
    tmp_path: Path, code: Path
) -> None:
    place = workplaces(tmp_path).prepare("a")
    (place / "checkpoint.pt").write_text("a's")
    (place / "config" / "net.toml").write_text("a's")
    (code / "labels.json").write_text("mended")
    later = (code / "labels.json").stat().st_mtime + 1
    os.utime(code / "labels.json", (later, later))
    os.utime(place / "config" / "net.toml", (later, later))

    again = workplaces(tmp_path).prepare("a")

    assert "a's" == (again / "checkpoint.pt").read_text()
    assert "a's" == (again / "config" / "net.toml").read_text()
    assert "mended" == (again / "labels.json").read_text()


def test_a_site_gets_its_name_and_what_is_said_of_it_alone() -> None:
    task = Task(
        trainer="t",
        params={"data": "data/{site}", "lr": 0.1, "files": [{"one": "{site}.npz"}, 3]},
        params_at={"site-2": {"lr": 0.01}},
    )
    assert {
        "data": "data/site-2",
        "lr": 0.01,
        "files": [{"one": "site-2.npz"}, 3],
    } == task.params_of("site-2")
    assert 0.1 == task.params_of("site-1")["lr"]


def test_a_data_folder_is_known_by_its_ledger(tmp_path: Path) -> None:
    assert LEDGER == DataFolder(tmp_path).ledger_path.name


def test_where_a_notebook_runs_what_is_hidden_stays_where_it_is(tmp_path: Path, code: Path) -> None:
    (code / ".ssh").mkdir()
    (code / ".ssh" / "id_ed25519").write_text("a key")
    (code / ".env").write_text("TOKEN=1")
    places = Workplaces(
        beside=code, folder=tmp_path / "sites", apart=tmp_path / "data", hidden=False
    )
    found = {path.name for path in places.prepare("a").rglob("*")}
    assert found
    assert not {".ssh", ".env", "id_ed25519"} & found
