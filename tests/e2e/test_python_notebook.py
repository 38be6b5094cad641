"""Runs from a notebook, in a kernel: an event loop is running there, and cells are interrupted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nbclient import NotebookClient

from support.notebook import (
    notebook_of,
    read_notebook,
    run_notebook,
    text_of,
    trainers_in,
    with_cells,
    with_parameters,
)
from support.plain import plain_loop
from support.python import SIMULATE, WALK
from support.waiting import wait_until
from tasuki.errors import DataInUse, UnknownRun
from tasuki_controller.data_folder import DataFolder

pytestmark = pytest.mark.timeout(300)  # two of them train for real

SHORT = "ROUNDS, IMAGES = 2, 300"
"""As few as show what is to be seen: all images of photo10 take a minute."""

EXAMPLE = Path(__file__).parents[2] / "examples/cifar10"
ROUND = ["site-2", "site-1", "site-3"]


def turns_of(run: str, data: Path) -> int:
    try:
        return DataFolder(data).run(run)[0].turns
    except (UnknownRun, DataInUse):  # not begun yet, or its ledger is being made
        return 0


def test_a_cell_shows_its_run_and_has_the_weights_of_a_plain_loop(tmp_path: Path) -> None:
    cells = run_notebook(
        notebook_of(
            WALK + SIMULATE,
            "await __import__('asyncio').sleep(0)  # it has a loop, and cells may use it",
            "run = simulate(lambda turn: print('at', turn.site) or train(turn))\nrun",
            "print(run.digest)",
            "run.turns",
            "run.plot();",
        ),
        tmp_path,
    )
    _, _, shown, digest, turns, plotted = cells
    assert plain_loop([ROUND] * 3) == text_of(digest).strip()
    assert "site-2 at site-2" in text_of(shown)
    assert "<run run-1: finished, 9 turns in 3 rounds" in text_of(shown)
    (moving,) = [each.data["text/html"] for each in shown if each.output_type == "display_data"]
    assert "finished" in moving  # drawn in its place until the end
    assert "<table" in turns[-1].data["text/html"]
    assert "image/png" in plotted[-1].data


def test_a_cell_that_is_interrupted_ends_and_its_run_goes_on_in_the_next(tmp_path: Path) -> None:
    def interrupt(client: NotebookClient) -> None:
        data = tmp_path / "data"
        wait_until(lambda: turns_of("long", data) >= 2, what="two turns", within_s=60)
        kernel: Any = client.km  # Any: of either kind
        asyncio.run(kernel.interrupt_kernel())

    slow = "params={'flag': '.', 'pause_s': 0.5}"
    again = "print(simulate(name='long', resume=True, wait=True, " + slow + ").digest)"
    _, first, second = run_notebook(
        notebook_of(WALK + SIMULATE, f"simulate(name='long', {slow})", again),
        tmp_path,
        meanwhile=interrupt,
        allow_errors=True,
    )
    assert "KeyboardInterrupt" == first[-1].ename
    assert "long was interrupted; go on with resume=True" in text_of(first)
    assert plain_loop([ROUND] * 3) == text_of(second).splitlines()[-1]
    assert [] == trainers_in(tmp_path)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The example's notebook from its first to its last cell: its digest, and what it says."""
    return _run_example(tmp_path_factory.mktemp("example"))


def test_the_example_runs_from_its_first_to_its_last_cell(example: tuple[str, str]) -> None:
    _, said = example
    assert "<run run-1: finished, 6 turns in 2 rounds; best is round" in said
    assert "of the test images" in said


def test_the_example_ends_with_the_same_weights_if_its_trainer_is_killed(
    example: tuple[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "example"

    def kill(_: NotebookClient) -> None:
        data = folder / ".tasuki"
        wait_until(lambda: turns_of("run-1", data) >= 2, what="two turns", within_s=120)
        for pid in wait_until(lambda: trainers_in(folder), what="a trainer"):
            os.kill(pid, signal.SIGKILL)

    digest, said = _run_example(tmp_path, kill)
    assert "TrainerDied" in said
    assert "was killed by SIGKILL" in said
    assert example[0] == digest


def test_the_example_has_no_outputs_stored() -> None:
    cells = read_notebook(EXAMPLE / "cyclic.ipynb").cells
    assert [] == [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def _run_example(
    folder: Path, meanwhile: Callable[[NotebookClient], None] = lambda _: None
) -> tuple[str, str]:
    place = folder / "example"
    shutil.copytree(EXAMPLE, place, ignore=shutil.ignore_patterns(".tasuki", "__pycache__"))
    notebook = with_parameters(read_notebook(place / "cyclic.ipynb"), SHORT)
    cells = run_notebook(with_cells(notebook, "print(run.digest)"), place, meanwhile=meanwhile)
    return text_of(cells[-1]).strip(), "".join(map(text_of, cells))
