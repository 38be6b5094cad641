"""What `tasuki doctor` advises: the remedy for what is wrong, and not for something else."""

from __future__ import annotations

import resource
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasuki.errors import DiskFull, TrainerDied, TrainerNotFound
from tasuki.settings.site import SiteSettings, read_site
from tasuki_cli.doctor import machine, trainers
from tasuki_cli.doctor.command import show
from tasuki_cli.doctor.report import Check, Report, Status, examine

SITE = """
name = "site-1"
device = "cpu"
[broker]
url = "amqp://site-1@localhost/x"
password_file = "password"
[trainers.walk]
run = "{run}"
folder = "{folder}"
"""
MINE = "def train(turn):\n    return turn\n"
INSTALL = "install what it imports"
Usage = namedtuple("Usage", "total used free")


def settings(folder: Path, *, run: str, code: str = MINE, where: str = ".") -> SiteSettings:
    (folder / "mine.py").write_text(code)
    (folder / "site.toml").write_text(SITE.format(run=run, folder=where))
    return read_site(folder / "site.toml", {})


def trainer(settings: SiteSettings) -> Check:
    (check,) = (examine(step) for step in trainers.steps(settings) if step.name == "trainer walk")
    return check


def test_a_trainers_folder_that_is_not_there_is_to_be_made_or_named(tmp_path: Path) -> None:
    """Bug: "install what it imports"."""
    check = trainer(settings(tmp_path, run="mine:train", where="gone"))
    assert (TrainerNotFound.__name__, Status.FAIL) == (check.error, check.status)
    assert f"there is no folder {tmp_path / 'gone'}" in check.found
    assert "[trainers.walk] folder" in check.advice


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("mine:trian", "has no function 'trian'; did you mean 'train'?"),
        ("mnie:train", "there is no module 'mnie'"),
        ("mnie:train", "did you mean 'mine'?"),
        ("mien.py", "did you mean 'mine.py'?"),
        ("mine.sub:train", "'mine' is not a package"),
        ("no-such-program mine.py", "there is no program 'no-such-program'"),
        ("mine", "write a script"),
    ],
)
def test_what_is_misspelt_in_the_settings_is_to_be_mended_there(
    tmp_path: Path, run: str, said: str
) -> None:
    """Bug: "install what it imports"."""
    check = trainer(settings(tmp_path, run=run))
    assert said in check.found
    assert "write in [trainers.walk] run what is there" in check.advice


@pytest.mark.parametrize("run", ["mine:train", "mine.py"])
def test_what_is_not_installed_is_to_be_installed(tmp_path: Path, run: str) -> None:
    check = trainer(settings(tmp_path, run=run, code="import no_such_module\n"))
    assert "no_such_module" in check.found
    assert INSTALL in check.advice


@pytest.mark.parametrize("run", ["mine:train", "mine.py"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def train(turn:\n", "SyntaxError"),
        ("import other\n", "SystemExit: 3"),
        ("import other, sys\n", "SystemExit: 3"),
    ],
)
def test_what_raises_when_it_is_imported_is_to_be_mended(
    tmp_path: Path, run: str, code: str, said: str
) -> None:
    (tmp_path / "other.py").write_text("raise SystemExit(3)\n")
    check = trainer(settings(tmp_path, run=run, code=code))
    assert (TrainerNotFound.__name__, said in check.found) == (check.error, True), check.found
    assert "mend the trainer" in check.advice


def test_a_trainer_that_ends_its_process_is_told_with_what_it_printed(tmp_path: Path) -> None:
    code = "import os, sys\nsys.stdout.buffer.write(b'so \\xff long\\n')\nsys.stdout.flush()\n"
    check = trainer(settings(tmp_path, run="mine:train", code=f"{code}os._exit(0)\n"))
    assert (TrainerDied.__name__, True) == (check.error, "so \ufffd long" in check.found)
    assert "mend the trainer" in check.advice


@pytest.mark.parametrize(
    "code",
    [
        "print('no end', end='')\n",
        "import atexit\natexit.register(print, 'bye')\n",
        "import argparse\nargparse.ArgumentParser().parse_args()\n",
        "import sys\nsys.stdout.close()\n",
    ],
    ids=["prints", "prints at its end", "reads arguments", "closes its output"],
)
def test_whatever_a_trainer_does_with_its_output_it_is_found(tmp_path: Path, code: str) -> None:
    """Bug: the answer was looked for in the last line of what it printed."""
    check = trainer(settings(tmp_path, run="mine:train", code=code + MINE))
    assert Status.OK is check.status, check


@contextmanager
def no_room() -> Iterator[None]:
    """The operating system takes no more bytes for any file of this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_needs_room_and_no_other_owner(tmp_path: Path) -> None:
    """Bug: "let the service's user own it"."""
    (step,) = (step for step in machine.steps(tmp_path) if step.name == "write access")
    with no_room():
        check = examine(step)
    assert (DiskFull.__name__, DiskFull.exit_code) == (check.error, check.exit_code)
    assert check.advice.startswith("free space under")
    assert "own" not in check.advice
    assert [] == list(tmp_path.iterdir())


def test_a_small_disk_is_told_in_mib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: "0.0 of 0.0 GiB are free"."""
    mib = 2**20
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(8 * mib, 5 * mib, 3 * mib))
    disk = examine(machine.steps(tmp_path)[0])
    assert (Status.WARN, True) == (disk.status, "3 MiB of 8 MiB are free" in disk.found), disk


def test_a_disk_without_a_free_byte_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(8 * 2**20, 8 * 2**20, 0))
    disk = examine(machine.steps(tmp_path)[0])
    assert (DiskFull.exit_code, True) == (disk.exit_code, "0 MiB of 8 MiB" in disk.found)
    assert "free space" in disk.advice


LONG = "word " * 30


def shown(capsys: pytest.CaptureFixture[str], *, is_verbose: bool = False) -> list[str]:
    well = Check(name="well", status=Status.OK, found=LONG)
    quiet = Check(name="quiet", status=Status.OK, found=LONG, brief="in short")
    odd = Check(name="[data] path", status=Status.SKIPPED, found=LONG)
    unwell = Check(name="unwell", status=Status.FAIL, found=LONG, advice="[b]do this[/b]")
    report = Report(checks=(well, quiet, odd, unwell))
    show(report, Path("site.toml"), is_verbose=is_verbose)
    return capsys.readouterr().out.splitlines()


def test_what_failed_comes_first_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys)
    assert lines[0].lstrip().startswith("fail")
    before_the_others = " ".join("".join(lines[: len(lines) - 4]).split())
    assert 30 == before_the_others.count("word")
    assert "-> [b]do this[/b]" in before_the_others


def test_what_is_well_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    *_, well, quiet, odd, verdict = shown(capsys)
    assert well.lstrip().startswith("ok")
    assert "in short" in quiet
    assert "[data] path" in odd
    assert "not ready; start with unwell" in verdict


def test_all_of_it_is_shown_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert 120 == " ".join(shown(capsys, is_verbose=True)).count("word")
