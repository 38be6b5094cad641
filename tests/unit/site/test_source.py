"""What a site's settings may name as a trainer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki.errors import TrainerNotFound
from tasuki_site.trainer.source import Source


@pytest.mark.parametrize(
    ("run", "is_script"),
    [
        ("train.py", True),
        ("train.py --epochs 2", True),
        ("'my train.py' --note 'a word'", True),
        ("train:train", False),
    ],
)
def test_a_script_with_or_without_arguments_or_a_function(
    tmp_path: Path, run: str, *, is_script: bool
) -> None:
    for name in "train.py", "my train.py":
        (tmp_path / name).touch()
    source = Source(run=run, folder=tmp_path)
    source.check()
    assert is_script is source.is_script


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("", "write a script"),
        ("train", "write a script"),
        ("train:", "write a script"),
        ("train:train --epochs 2", "write a script"),
        ("train.py --note 'a", "write a script"),
        ("gone.py --epochs 2", "no trainer script .*gone.py$"),
        ("gone:train", "no module 'gone'"),
    ],
)
def test_what_names_no_trainer_is_said_early(tmp_path: Path, run: str, said: str) -> None:
    (tmp_path / "train.py").touch()
    with pytest.raises(TrainerNotFound, match=said):
        Source(run=run, folder=tmp_path).check()
