"""Code that does to its process what it likes: the turn has its result, or a word on the cause."""

from __future__ import annotations

import asyncio
import os
import textwrap
from pathlib import Path

import numpy as np
import pytest

from support.requests import a_request
from tasuki.errors import SettingsError, TasukiError, TrainerDied, TrainerError, TrainerRaised
from tasuki_site.model_files.first_weights import first_weights
from tasuki_site.tensors import load_state, save_state
from tasuki_site.trainer.child_trainer import ChildTrainer
from tasuki_site.trainer.request import TurnRequest
from tasuki_site.trainer.result import Outcome
from tasuki_site.trainer.source import Source

TORCHLESS = "import sys\nsys.modules['torch'] = None\nimport os\n"
FUNCTION = """
def train(turn):
    {body}
    return turn.result({{"w": turn.weights("numpy")["w"] + 1}})
"""
SCRIPT = """
import tasuki.flare as flare
flare.init()
while flare.is_running():
    model = flare.receive()
    {body}
    flare.send(flare.FLModel(params={{"w": model.params["w"] + 1}}))
"""
FORMS = {"nasty:train": FUNCTION, "nasty.py": SCRIPT}


class Turns:
    """Two turns of a trainer, one after the other, and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place: Path | None = None
        self.lines: list[str] = []

    def train(self, run: str, code: str) -> None:
        (self.folder / "nasty.py").write_text(TORCHLESS + code)
        asyncio.run(self._train(run))

    async def _train(self, run: str) -> None:
        source = Source(run=run, folder=self.folder)
        trainer = ChildTrainer(source, lambda _, line: self.lines.append(line))
        async with asyncio.timeout(60):
            for round in range(2):
                outcome = await trainer.train(self.request(round), lambda _: None)
                self._check(outcome, round)
            await trainer.close()

    def request(self, round: int) -> TurnRequest:
        save_state(self.folder / "received", {"w": np.full(2, round, np.float32)})
        folder = None if self.place is None else str(self.place)
        return a_request(self.folder, round=round, rounds=2, folder=folder)

    def _check(self, outcome: Outcome, round: int) -> None:
        assert outcome.digest
        (result,) = load_state(self.folder / "result", framework="numpy").values()
        assert [round + 1, round + 1] == list(result)


@pytest.fixture
def turns(tmp_path: Path) -> Turns:
    return Turns(tmp_path)


@pytest.mark.parametrize("run", FORMS)
@pytest.mark.parametrize(
    "body",
    [
        "sys.stdout.close(), sys.stderr.close()",
        "sys.stdout = sys.stderr = None",
        "sys.stdout = type('Mute', (), {'flush': lambda self: 1 / 0, 'write': len})()",
        "os.closerange(3, 256)",
        "os.closerange(0, 3)",
    ],
    ids=["closes its output", "has no output", "has an odd output", "closes all", "closes 0 to 2"],
)
def test_what_it_does_with_its_descriptors_costs_no_turn(turns: Turns, run: str, body: str) -> None:
    """Bug: the trained result was lost with the channel, or at the flush before it was sent."""
    turns.train(run, FORMS[run].format(body=body))


@pytest.mark.parametrize("run", FORMS)
def test_a_copy_that_comes_out_of_its_turn_is_ended_and_the_original_answers(
    turns: Turns, run: str
) -> None:
    """Bug: the service read two answers and found a file that the other one had moved."""
    turns.train(run, FORMS[run].format(body="os.fork()"))
    assert "a copy of the trainer's process (os.fork)" in turns.lines[0]


def test_a_channel_that_was_closed_all_the_same_is_told_as_that(turns: Turns) -> None:
    code = FUNCTION.format(body="os.closerange(3, 5000)")
    with pytest.raises(TrainerDied, match="closed the descriptor by which Tasuki hears"):
        turns.train("nasty:train", code)


@pytest.mark.parametrize("run", FORMS)
def test_a_message_that_utf_8_does_not_have_is_spelled_out(turns: Turns, run: str) -> None:
    """Bug: the process died of it, and the cause was not told."""
    code = FORMS[run].format(body=r"raise ValueError('half \ud800')")
    with pytest.raises(TrainerRaised, match=r"^ValueError: half \\ud800"):
        turns.train(run, code)


def test_a_script_that_ends_itself_is_told_with_what_it_printed(turns: Turns) -> None:
    """Bug: `the script ended by sys.exit(2)`, and why was in another log."""
    code = (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True)\n"
    )
    with pytest.raises(TrainerError, match=r"sys\.exit\(2\)(.|\n)*arguments are required: --data"):
        turns.train("nasty.py", code + "p.parse_args()\n")


def test_a_module_that_needs_arguments_is_told_where_it_asks_for_them(turns: Turns) -> None:
    """Bug: four frames of argparse, and advice to return a result."""
    code = (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('data')\np.parse_args()\n"
    )
    with pytest.raises(TasukiError) as told:
        turns.train("nasty:train", code)
    said = str(told.value)
    assert "nasty.py" in said
    assert "argparse.py" not in said
    assert "give each a default" in said
    assert "arguments are required: data" in said


def test_more_than_fits_into_a_message_is_the_trainers_failure(turns: Turns) -> None:
    code = FUNCTION.format(body="turn.log(**{str(n) * 200: 0.0 for n in range(100_000)})")
    with pytest.raises(TrainerError, match="log less at once"):
        turns.train("nasty:train", code)


def test_a_folder_that_is_gone_fails_the_turn_and_not_the_site(tmp_path: Path) -> None:
    """Bug: a FileNotFoundError, which ended the service."""
    turns = Turns(tmp_path)
    trainer = ChildTrainer(Source(run="nasty:train", folder=tmp_path / "gone"), lambda *_: None)
    with pytest.raises(TrainerDied, match=r"there is no folder .*gone any more"):
        asyncio.run(trainer.train(turns.request(0), lambda _: None))


def test_a_folder_that_its_own_code_removed_is_named(turns: Turns) -> None:
    body = "import shutil; shutil.rmtree(os.getcwd())"
    turns.place = turns.folder / "place"
    turns.place.mkdir()
    with pytest.raises(TrainerError, match=r"the trainer cannot work in .*place: No such file"):
        turns.train("nasty:train", FUNCTION.format(body=body))


def factory(folder: Path, body: str) -> None:
    code = textwrap.dedent(body)
    made = "def make():\n    bad()\n    return {'w': np.zeros(2, np.float32)}\n"
    (folder / "nasty.py").write_text(f"{TORCHLESS}import numpy as np\n{code}\n{made}")
    asyncio.run(_made(folder))


async def _made(folder: Path) -> None:
    weights = await first_weights(
        "nasty:make", folder / "first", folder=folder, seed=0, show=lambda _: None
    )
    assert weights.size == (folder / "first").stat().st_size


@pytest.mark.parametrize("what", ["sys.stdout.close()", "os.closerange(0, 256)"])
def test_what_a_factory_does_with_its_descriptors_costs_no_weights(
    tmp_path: Path, what: str
) -> None:
    factory(tmp_path, f"def bad(): {what}")


def test_a_factorys_message_that_utf_8_does_not_have_is_spelled_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"half \\ud800"):
        factory(tmp_path, r"def bad(): raise ValueError('half \ud800')")


def test_a_model_file_that_needs_arguments_is_told_with_its_usage(tmp_path: Path) -> None:
    code = "import argparse\np = argparse.ArgumentParser()\np.add_argument('data')\np.parse_args()"
    with pytest.raises(SettingsError, match="give each a default") as told:
        factory(tmp_path, code)
    assert "required: data" in str(told.value)
    assert os.linesep.join(["It printed last:", "usage: nasty.py"]) in str(told.value)
