"""Checkpoints that are written and removed while the process may be killed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from support.transfers import digested
from tasuki.core.model import CheckpointPolicy, Plan, Task, TurnId, TurnRecord, WeightsRef
from tasuki.core.run import SaveCheckpoint
from tasuki_controller.checkpoints import BEST, Anchor, Checkpoints, Document, document

ANCHOR = Anchor(seq=1, hash="h")
NAN = math.nan
PLAN = Plan(run="r", sites=("a", "b"), task=Task(trainer="t"))


def written(folder: Path, content: bytes) -> tuple[Path, WeightsRef]:
    path = folder / "source"
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    return path, digested(content)


def save(
    checkpoints: Checkpoints,
    number: int,
    data: bytes,
    policy: CheckpointPolicy,
    **metrics: float,
) -> Document:
    source, weights = written(checkpoints.folder.parent, data)
    id = TurnId(run="r", term=1, round=number, hop=0)
    record = TurnRecord(id=id, site="a", received="x", sent=weights, metrics=metrics)
    saved = SaveCheckpoint(round=number - 1, weights=weights, records=(record,))
    content = document(PLAN, number, saved, ANCHOR)
    checkpoints.save(source, content, policy)
    return content


def test_a_process_that_was_killed_while_it_removed_a_checkpoint_removes_the_rest_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, policy = Checkpoints(tmp_path / "r"), CheckpointPolicy(keep=1)
    save(checkpoints, 1, b"first", policy)

    class Killed(BaseException):
        pass

    unlink, removed = Path.unlink, list[Path]()

    def until_killed(path: Path, missing_ok: bool = False) -> None:
        if removed and "round-0001" in path.name:
            raise Killed
        if "round-0001" in path.name:
            removed.append(path)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", until_killed)
        with pytest.raises(Killed):
            save(checkpoints, 2, b"second", policy)
    assert removed
    kept = save(checkpoints, 2, b"second", policy)  # what was not done is done again
    assert 1 == checkpoints.verify({2: kept})


def test_a_file_that_another_run_left_under_the_name_is_not_taken_for_ours(tmp_path: Path) -> None:
    checkpoints, policy = Checkpoints(tmp_path / "r"), CheckpointPolicy()
    save(checkpoints, 0, b"of a run that was removed from the ledger", policy)
    kept = save(checkpoints, 0, b"ours", policy)
    assert 1 == checkpoints.verify({0: kept})


@pytest.mark.parametrize("number", [NAN, math.inf])
def test_what_is_kept_beside_weights_is_json_that_every_reader_takes(
    tmp_path: Path, number: float
) -> None:
    checkpoints = Checkpoints(tmp_path / "r")
    kept = save(checkpoints, 1, b"weights", CheckpointPolicy(best="auc"), auc=number, loss=0.5)
    text = (checkpoints.folder / "round-0001.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert {"auc": None, "loss": 0.5} == json.loads(text)["metrics"]
    assert not (checkpoints.folder / BEST).exists()
    assert 1 == checkpoints.verify({1: kept})
