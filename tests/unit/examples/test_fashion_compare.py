"""The comparisons of the Fashion-MNIST example, with runs that nobody has made."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.frameworks import need

EXAMPLE = Path(__file__).parents[3] / "examples" / "fashion_mnist"
MODULES = ("data", "net", "compared_runs", "compare", "plots")
Module = Any  # a script of an example, which has no types to import


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Module]]:
    """Its modules, and no trace of them afterwards: other examples have a `net` as well."""
    need("torch", "safetensors", "matplotlib")
    monkeypatch.syspath_prepend(EXAMPLE)
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


class MadeUp:
    """Runs of which every third evaluated round is better than its neighbours."""

    def __init__(self, went: Module) -> None:
        self._went = went

    def went(self, settings: list[Module]) -> list[Module]:
        return [self._one(setting) for setting in settings]

    def _one(self, setting: Module) -> Module:
        rounds = range(1, setting.rounds + 1)
        scores = {number: 0.5 + 0.1 * (number % 3 == 0) for number in rounds}
        return self._went(rolling=scores, mean=scores, worst=scores, test=scores)


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table in a page."""
    blocks = [block.split("\n") for block in text.split("\n\n")]
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block]
        for block in blocks
        if block[0].startswith("|")
    ]


def test_the_page_shows_the_tables_that_the_command_prints(
    example: Callable[[str], Module],
) -> None:
    compare, runs = example("compare"), MadeUp(example("compared_runs").Went)
    study = compare.Study(seeds=(1, 2, 3), rounds=compare.ROUNDS)
    printed = [tables(compare.markdown(make(study, runs)))[0] for make in compare.TABLES.values()]
    page = tables((EXAMPLE / "README.md").read_text())
    for table in printed:
        on_page = next(shown for shown in page if shown[0][0] == table[0][0])
        assert table[:2] == on_page[:2]
        assert [line[0] for line in table] == [line[0] for line in on_page]
        assert {len(line) for line in table} == {len(line) for line in on_page}


def test_of_equally_good_rounds_the_first_is_the_best(example: Callable[[str], Module]) -> None:
    scores = {1: 0.1, 2: 0.7, 3: 0.7, 4: 0.2}
    went = example("compared_runs").Went(rolling=scores, mean=scores, worst=scores, test=scores)
    assert 2 == went.best(scores)
    assert 4 == went.last
    assert 16 == went.turns_to(0.7)
    assert went.turns_to(0.8) is None


def test_runs_that_are_compared_train_for_as_many_steps(example: Callable[[str], Module]) -> None:
    study = example("compare").Study(seeds=(1,), rounds=30)
    rows = [*study.orders().values(), *study.transfers().values()]
    assert {600} == {setting.rounds * setting.steps for (setting,) in rows}


def test_each_comparison_is_drawn_in_a_small_file(
    example: Callable[[str], Module], tmp_path: Path
) -> None:
    compare, runs = example("compare"), MadeUp(example("compared_runs").Went)
    study = compare.Study(seeds=(1, 2), rounds=30)
    for name in compare.TABLES:
        example("plots").plot(name, study, runs, tmp_path)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert {"shipped.svg", "order.svg", "transfers.svg"} == set(sizes)
    assert max(sizes.values()) < 100_000
