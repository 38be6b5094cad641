"""What every file that `tasuki init` writes for training does with its data."""

from __future__ import annotations

from pathlib import Path

from support.simulation import Outcome, tasuki
from tasuki.errors import NoScores


def check_splits(run_toml: Path, *, timeout_s: float = 110) -> None:
    """A run that is over is scored on two parts of the data, and a word for none is refused."""
    chosen_by, test, unknown = (
        _evaluate(run_toml, split, timeout_s=timeout_s) for split in ("", "test", "tset")
    )
    assert (chosen_by.code, test.code) == (0, 0), chosen_by.err + test.err
    assert len(_values(test)) == 3
    assert _values(chosen_by) != _values(test)
    assert unknown.code == NoScores.exit_code
    left_out = unknown.last["evaluations"][0]["left_out"]
    said = "ValueError: there is no split 'tset': this site has train, validation, test"
    assert [said in each["detail"] for each in left_out] == [True] * 3, left_out


def _evaluate(run_toml: Path, split: str, *, timeout_s: float) -> Outcome:
    data = ("--data", run_toml.parent / "data", "--json")
    return tasuki("evaluate", "begun", "--split", split, *data, timeout_s=timeout_s)


def _values(scored: Outcome) -> list[float]:
    """By site."""
    return [each["value"] for each in scored.last["evaluated"][0]["rows"][0]["sites"]]
