"""A module with the name of one of Python's own is told as that, whichever of the two is taken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasuki.errors import TrainerNotFound
from tasuki_site.trainer.shadowed_modules import library_module, shadow_hint
from tasuki_site.trainer.source import Source, load_function

HINT = """
import sys
from tasuki_site.trainer.shadowed_modules import shadow_hint
sys.path.insert(0, {folder!r})
try:
    {code}
except Exception as exc:
    print(shadow_hint(exc))
"""


def hint(folder: Path, code: str) -> str:
    """In a process of its own, which has not the modules that the tests have."""
    words = [sys.executable, "-c", HINT.format(folder=str(folder), code=code)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("colorsys", "import colorsys; colorsys.rgb_to_hsv"),
        ("colorsys", "from colorsys import rgb_to_hsv"),
        ("wave", "import wave.nothing"),
        ("sndhdr", "import user_of_sndhdr"),
    ],
)
def test_one_that_is_taken_in_place_of_the_librarys_is_named(
    tmp_path: Path, name: str, code: str
) -> None:
    (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "user_of_sndhdr.py").write_text("from sndhdr import what\n")
    expected = f"{tmp_path / name}.py has the name of a module of Python's standard library, and is"
    assert hint(tmp_path, code).startswith(expected)


@pytest.mark.parametrize(
    "code", ["import types; types.Net", "from types import Net", "from time import Net"]
)
def test_one_in_whose_place_the_librarys_is_taken_is_named(tmp_path: Path, code: str) -> None:
    for name in ("types", "time"):
        (tmp_path / f"{name}.py").write_text("Net = object\n")
    said = hint(tmp_path, code)
    assert said.startswith(str(tmp_path))
    assert said.endswith("which is taken in its place; rename it")


@pytest.mark.parametrize(
    "code", ["import types; types.Net", "import nothing_there", "{}['x']", "import json; json.Net"]
)
def test_what_has_another_cause_is_left_alone(tmp_path: Path, code: str) -> None:
    (tmp_path / "train.py").write_text("")
    assert hint(tmp_path, code) == "None"


def test_causes_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "types.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError) as raised:
        fail_for_types()
    said = shadow_hint(raised.value)
    assert said is not None
    assert said.startswith(str(tmp_path / "types.py"))


def fail_for_types() -> None:
    import types

    try:
        types.Net  # type: ignore[attr-defined]  # noqa: B018 - that there is none is the point
    except AttributeError as exc:
        raise RuntimeError from exc


@pytest.mark.parametrize("run", ["site:train", "time:train"])
def test_a_trainer_in_such_a_module_is_refused_before_it_is_started(
    tmp_path: Path, run: str
) -> None:
    source = Source(run=run, folder=tmp_path)
    for attempt in (source.check, lambda: load_function(source)):
        with pytest.raises(TrainerNotFound, match="and there is none in"):
            attempt()
    name = run.removesuffix(":train")
    (tmp_path / f"{name}.py").write_text("def train(turn): ...\n")
    for attempt in (source.check, lambda: load_function(source)):
        with pytest.raises(TrainerNotFound, match=rf"{name}\.py has the name of a module .*rename"):
            attempt()


def test_a_module_that_is_found_all_the_same_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has imported the library's, and the folder comes first."""
    monkeypatch.delitem(sys.modules, "this", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "this.py").write_text("def train(turn): ...\n")
    source = Source(run="this:train", folder=tmp_path)
    for _ in range(2):  # and the second time, it is there
        source.check()
        assert load_function(source).__module__ == "this"
        assert library_module("this", tmp_path) is None
    monkeypatch.delitem(sys.modules, "this")
