"""What `tasuki.simulate` and `tasuki.connect` refuse, before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tasuki
from tasuki import errors
from tasuki.errors import SettingsError
from tasuki_python.course import check_which


def train(turn: tasuki.Turn) -> tasuki.Result:
    return turn.result(turn.weights("numpy"))


def make() -> dict[str, Any]:  # Any: arrays
    return {}


REFUSED: list[tuple[Mapping[str, Any], str]] = [  # Any: as `simulate` takes them
    ({"initial": None}, "initial is missing: a class or function that makes the network"),
    ({"initial": 3}, "initial is 3: give a class or function"),
    ({"train": 3}, "train is 3: give a function that takes a turn, or the path of a run file"),
    ({"evaluate": 3}, "evaluate is 3: give a function that takes a turn$"),
    ({"evaluation": {"at_end": True}}, "give evaluate=, a function, too"),
    ({"evaluation": train}, "a function that scores is evaluate=, and evaluation= is a table"),
    ({"evaluation": train, "evaluate": train}, "evaluation is a function"),
    ({"train": dict}, "train is <class 'dict'>: give a function"),
    ({"rounds": 0}, "rounds: Input should be greater than or equal to 1"),
    ({"order": "fixd"}, "there is no order 'fixd'; did you mean 'fixed'"),
    ({"order": ["site-9"]}, "the order names 'site-9'"),
    ({"order": [("site-1",), ("site-9",)]}, "the order names 'site-9'"),
    ({"order": (["site-1"], "site-2")}, "the order has sites beside lists of sites"),
    ({"lanes": {"count": 4}}, "4 lanes and 3 sites"),
    ({"lanes": 4}, r"lanes is a table: write count = 4 under \[lanes\]"),
    ({"lanes": 4, "evaluate": train}, "lanes is a table"),
    ({"lanes": {"count": 2, "merge": "sampels"}}, "did you mean 'samples'"),
    ({"sites": ["a b", "c"]}, "site name 'a b'"),
    ({"sites": 1}, "one site and"),
    ({"name": "A"}, "run name 'A'"),
    ({"chekpoint": {"best": "x"}}, "unknown key 'chekpoint'; did you mean 'checkpoint'"),
    ({"checkpoint": {"bets": "x"}}, "unknown key 'checkpoint.bets'; did you mean 'best'"),
    ({"initial": "run:B"}, "run name 'B'"),
    ({"train": "run.toml", "seed": 3}, "initial is for functions: run.toml says it for itself"),
    ({"train": "run.toml", "initial": None}, "there is no file run.toml"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED, ids=lambda each: str(each)[:30])
def test_a_wrong_setting_is_said_at_once(
    changes: Mapping[str, Any],  # Any: as above
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = {"train": train, "initial": make, "data": tmp_path / "data", **changes}
    with pytest.raises(SettingsError, match=said):
        tasuki.simulate(**arguments)
    assert not (tmp_path / "data").exists()


def test_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(errors.UnknownRun, match="there is no run-1 or later in"):
        tasuki.simulate(train, initial=make, data=tmp_path, resume=True)


def test_a_name_that_tasuki_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tasuki' has no attribute 'simulte'"):
        tasuki.simulte  # type: ignore[attr-defined]  # noqa: B018 - it is what is tested


@pytest.mark.parametrize("which", ["bets", "round-", -1, "best/"])
def test_weights_that_no_run_can_have_are_refused(which: str | int) -> None:
    with pytest.raises(SettingsError, match="say 'best', 'latest', 'round-7' or 7"):
        check_which(which)


def test_connect_takes_one_of_two_places(tmp_path: Path) -> None:
    for url, data in ((None, None), ("http://127.0.0.1:1", tmp_path)):
        with pytest.raises(SettingsError, match="takes the url of a controller, or data="):
            tasuki.connect(url, data=data)
    folder = tasuki.connect(data=tmp_path)
    with pytest.raises(errors.UnknownRun, match="there is no run in"):
        folder.run("walk")
    with pytest.raises(SettingsError, match="a folder starts no runs"):
        folder.submit("run.toml")
