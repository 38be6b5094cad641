"""A site's trainers and its device, tried in processes of their own, as a turn would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tasuki.errors import SettingsError, TrainerDied, TrainerNotFound
from tasuki.settings.site import SiteSettings, TrainerTable
from tasuki_cli.doctor.answer import ANSWER_VARIABLE, CODE, INSTALL, SETTINGS
from tasuki_cli.doctor.report import Diagnosis, Finding, Status, Step

ANSWER_S = 120.0  # a first import of torch from a slow disk
MOST_SAID = 500

_ADVICE = {
    SETTINGS: "write in [trainers.{name}] run what is there, or put it there",
    INSTALL: "install what it imports into the environment that `tasuki site` runs in",
    CODE: "mend the trainer: this is what its own code does when it is imported",
}


def steps(settings: SiteSettings) -> list[Step]:
    """The device, then each trainer."""
    device = Step(
        name="device",
        look=partial(_device, settings.device),
        advice="set `device` to what there is, or leave it out; in a container, see that it is "
        "given the GPU",
    )
    trainers = [
        Step(name=f"trainer {name}", look=partial(_trainer, name, table), advice=_ADVICE[CODE])
        for name, table in settings.trainers.items()
    ]
    return [device, *trainers] if trainers else [device, _no_trainer(settings)]


def _no_trainer(settings: SiteSettings) -> Step:
    def look() -> Finding:
        return Finding(found=f"{settings.name} has none", status=Status.WARN)

    return Step(name="trainers", look=look, advice="add [trainers.NAME] for each run's trainer")


def _device(wanted: str | None) -> Finding:
    if wanted == "cpu":
        return Finding(found="trains on cpu, as `device` says")
    found = _rehearse("device", folder=Path.cwd())
    best, torch, gpus = found["device"], found["torch"], found["gpus"]
    if not _is_there(wanted, best=best, gpus=len(gpus)):
        raise SettingsError(f"device = {wanted!r} is not here; the best is {best} (torch {torch})")
    said = f"trains on {wanted or best} (torch {torch})" if torch else "no torch: trains on cpu"
    return Finding(found="; ".join([said, *gpus]))


def _is_there(wanted: str | None, *, best: str, gpus: int) -> bool:
    if wanted in {None, best}:
        return True
    kind, _, index = str(wanted).partition(":")
    return kind == best and index.isdecimal() and int(index) < max(gpus, 1)


def _trainer(name: str, table: TrainerTable) -> Finding:
    if not table.folder.is_dir():
        raise Diagnosis(
            TrainerNotFound(f"there is no folder {table.folder}"),
            advice=f"put the trainer's code there, or name its folder in [trainers.{name}] folder",
        )
    words = table.run, str(table.folder), table.evaluate or ""
    found = _rehearse("trainer", *words, folder=table.folder)
    if "error" in found:
        raise Diagnosis(
            TrainerNotFound(str(found["error"])), advice=_ADVICE[found["mend"]].format(name=name)
        )
    said = f"{table.run} in {table.folder} and what it imports are there"
    return Finding(found=said, brief=f"{table.run} and what it imports are there")


def _rehearse(*words: str, folder: Path) -> dict[str, Any]:  # Any: JSON
    command = [sys.executable, "-P", "-m", "tasuki_cli.doctor.rehearsal", *words]
    with tempfile.NamedTemporaryFile(prefix="tasuki-doctor-") as answer:
        try:
            done = subprocess.run(  # noqa: S603 - this very program
                command,
                cwd=folder,
                env={**os.environ, ANSWER_VARIABLE: answer.name},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=ANSWER_S,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise TrainerDied(f"no answer within {ANSWER_S:g} s from {' '.join(words)}") from exc
        text = answer.read()
    if not text:
        said = done.stdout.decode(errors="replace").strip()[-MOST_SAID:]
        raise TrainerDied(f"{' '.join(words)} ended with {done.returncode}: {said}")
    found: dict[str, Any] = json.loads(text)
    return found
