"""What `tasuki evaluate --weights` may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki.errors import SettingsError
from tasuki.settings.initial import RunWeights
from tasuki_cli.evaluate import chosen


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        (None, None),
        ("best", RunWeights(run="r", is_best=True)),
        ("latest", RunWeights(run="r")),
        ("round-7", RunWeights(run="r", round=7)),
        ("round-0", RunWeights(run="r", round=0)),
    ],
)
def test_weights_are_named_as_checkpoints_are(named: str | None, meant: RunWeights | None) -> None:
    assert meant == chosen("r", named)


def test_weights_may_be_those_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.touch()
    assert path == chosen("r", str(path))


@pytest.mark.parametrize(
    "named", ["", "first", "round-", "round--1", "round-1.5", "round-9999999999", "7", "model.pt"]
)
def test_what_names_no_weights_is_told_what_does(named: str) -> None:
    with pytest.raises(SettingsError, match=r"name best, latest, round-7 or the like, or a \.safe"):
        chosen("r", named)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        chosen("r", str(tmp_path / "model.safetensors"))
