"""How the study of several lanes reads a run: what is compared, and which round counts."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.frameworks import need
from tasuki.core.model import Cover
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHARE, ALL = Cover.SHARE, Cover.ALL
Module = Any  # a script, which has no types to import


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    need("torch", "safetensors")
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield importlib.import_module("lanes_accuracy")
    for name in ("lanes_accuracy", "lanes_accuracy_trainer"):
        sys.modules.pop(name, None)


def setting(study: Module, lanes: int, cover: Cover, *, one_lane: int = 8) -> Any:
    return study.Setting(
        data="photo10", alpha=0.5, seed=3, lanes=lanes, cover=cover, one_lane=one_lane, lr=0.01
    )


LANES = [(1, SHARE), (2, SHARE), (4, SHARE), (8, SHARE), (2, ALL), (4, ALL), (8, ALL)]


@pytest.mark.parametrize(("lanes", "cover"), LANES)
def test_the_first_rounds_have_as_many_turns_as_the_run_with_one_lane(
    study: Module, lanes: int, cover: Cover
) -> None:
    each = setting(study, lanes, cover)
    assert 8 * study.SITES == each.as_many_steps * each.turns_a_round


@pytest.mark.parametrize(("lanes", "cover"), LANES)
def test_all_rounds_take_as_long_as_the_run_with_one_lane(
    study: Module, lanes: int, cover: Cover
) -> None:
    each = setting(study, lanes, cover)
    one_after_the_other = each.turns_a_round / lanes
    assert 8 * study.SITES == each.rounds * one_after_the_other


def test_a_run_has_at_least_one_round(study: Module) -> None:
    assert 1 == setting(study, 8, ALL, one_lane=2).as_many_steps


@pytest.mark.parametrize(("lanes", "cover"), LANES)
def test_the_run_file_says_what_is_asked(
    study: Module, tmp_path: Path, lanes: int, cover: Cover
) -> None:
    each = setting(study, lanes, cover)
    path = tmp_path / "run.toml"
    path.write_text(study.as_run_file(each, tmp_path))
    run_file = read(path, RunFile)
    assert (lanes, cover) == (run_file.lanes.count, run_file.lanes.cover)
    assert (each.rounds, 3) == (run_file.rounds, run_file.seed)
    assert study.SITES == len(run_file.simulated_sites(None))


def test_the_best_is_what_the_round_that_sites_say_most_of_scores_on_the_test_images(
    study: Module,
) -> None:
    went = study.Went(said=(0.2, 0.7, 0.7, 0.6), test=(0.9, 0.5, 0.6, 0.3))
    assert (2, 0.5) == (went.best_round, went.best)
    assert 0.9 == went.first(1).best


def test_the_swing_is_of_the_last_rounds_and_none_of_too_few(study: Module) -> None:
    went = study.Went(said=(0.0,) * 6, test=(9.0, 0.5, 0.5, 0.5, 0.5, 1.0))
    assert 0.2 == pytest.approx(went.swing)
    assert went.first(4).swing is None


def test_rounds_to_a_target_are_counted_from_one_and_may_never_come(study: Module) -> None:
    went = study.Went(said=(0.0,) * 3, test=(0.1, 0.6, 0.2))
    assert (1, 2, None) == tuple(map(went.rounds_to, (0.1, 0.5, 0.7)))


def test_every_image_is_at_one_site_to_train_on_or_to_judge_by(
    study: Module, tmp_path: Path
) -> None:
    need("skimage", "sklearn")
    each = setting(study, 2, SHARE)
    study.divide(each, tmp_path / "images")
    own = sys.modules["lanes_accuracy_trainer"].own
    parts = [own(f"{tmp_path}/images", f"site-{n}") for n in range(1, study.SITES + 1)]
    trained = sum(len(part["labels"]) for part in parts)
    judged = sum(len(part["judged_labels"]) for part in parts)
    assert len(study.images_of("photo10", train=True)[1]) == trained + judged
    assert all(0 < len(part["judged_labels"]) < len(part["labels"]) for part in parts)


def test_a_run_that_is_known_is_not_made_again(
    study: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    went = study.Went(said=(0.5,), test=(0.25,))

    def simulated(each: Module) -> Module:
        made.append(each)
        return went

    monkeypatch.setattr(study, "simulated", simulated)
    one, other = setting(study, 2, SHARE), setting(study, 2, ALL)
    known = tmp_path / "runs.jsonl"
    assert went == study.Runs(known).went(one)
    again = study.Runs(known)
    assert (went, went) == (again.went(one), again.went(other))
    assert [one, other] == made
