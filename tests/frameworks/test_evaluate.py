"""Turns that evaluate, where a framework's trainer does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.frameworks import need
from support.requests import a_request
from support.simulation import tasuki
from tasuki.core.model import Kind
from tasuki.errors import CannotEvaluate
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read
from tasuki_site.model_files.first_weights import first_weights
from tasuki_site.trainer.child_trainer import ChildTrainer
from tasuki_site.trainer.result import Outcome
from tasuki_site.trainer.source import Source

pytestmark = pytest.mark.timeout(900)
NEEDS = {
    "lightning": ("lightning",),
    "huggingface": ("transformers", "accelerate"),
    "keras": ("tensorflow", "keras"),
}
SCORE = {"lightning": "accuracy", "huggingface": "eval_loss", "keras": "accuracy"}
SAMPLES = {"lightning": 0, "huggingface": 40, "keras": 100}
TRAIN, EVALUATE = Kind.TRAIN, Kind.EVALUATE
FITS = {"lightning": "trainer.validate(", "huggingface": "trainer.evaluate("}


def begun(template: str, folder: Path) -> Source:
    """What `tasuki init` writes, with the run's first weights as those that are received."""
    need(*NEEDS[template])
    assert tasuki("init", folder, "--template", template).code == 0
    return Source(run="client.py", folder=folder)


def outcomes(source: Source, place: Path, *kinds: Kind) -> Sequence[Outcome]:
    """Turns of these kinds in one process; what one has trained the next one receives."""
    place.mkdir()
    initial = read(source.folder / "run.toml", RunFile).weights.initial
    received = place / "received"

    async def run() -> list[Outcome]:
        await first_weights(initial, received, folder=source.folder, seed=0, show=lambda _: None)
        trainer = ChildTrainer(source, lambda *_: None, farewell_s=60)
        found: list[Outcome] = []
        try:
            for kind in kinds:
                round = sum(bool(outcome.digest) for outcome in found)
                request = a_request(place, kind=kind.value, round=round, rounds=3, seed=5 + round)
                found.append(await trainer.train(request, lambda _: None))
                if kind is TRAIN:
                    (place / "result").replace(received)
            await trainer.farewell()
        finally:
            await trainer.close()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("template", NEEDS)
def test_evaluations_change_nothing_about_what_is_trained(template: str, tmp_path: Path) -> None:
    source = begun(template, tmp_path / "begun")
    plain = outcomes(source, tmp_path / "plain", TRAIN, TRAIN)
    mixed = outcomes(source, tmp_path / "mixed", EVALUATE, TRAIN, EVALUATE, EVALUATE, TRAIN)
    assert plain == [mixed[1], mixed[4]]
    score = SCORE[template]
    first, second, again = mixed[0], mixed[2], mixed[3]
    assert plain[0].metrics[f"received_{score}"] == first.metrics[score]
    assert plain[1].metrics[f"received_{score}"] == second.metrics[score]
    assert second == again
    assert ("", SAMPLES[template]) == (first.digest, first.samples)
    assert not [name for name in first.metrics if name.startswith("received_")]


@pytest.mark.parametrize("template", FITS)
def test_a_trainer_that_is_only_fitted_cannot_evaluate(template: str, tmp_path: Path) -> None:
    source = begun(template, tmp_path / "begun")
    text, call = source.script.read_text(), FITS[template]
    lines = text.splitlines()
    assert [] != [line for line in lines if call in line]
    source.script.write_text("\n".join(line for line in lines if call not in line))
    with pytest.raises(CannotEvaluate, match="the script has called nothing but trainer"):
        outcomes(source, tmp_path / "place", TRAIN, EVALUATE)
