"""A site's log names the turn in which its trainer said something."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from support.requests import a_request
from tasuki_site.process import said, warn_of_data
from tasuki_site.tensors import save_state
from tasuki_site.trainer.child_trainer import ChildTrainer
from tasuki_site.trainer.source import Source

SPEAKS = """
import sys
sys.modules["torch"] = None  # importing it takes seconds


def train(turn):
    print(f"round {turn.round}", flush=True)
    return turn.result(turn.weights("numpy"))
"""


def test_each_line_that_a_trainer_prints_names_its_run_and_its_turn(tmp_path: Path) -> None:
    """Bug: with three runs at a site, nobody could tell whose words these were."""
    (tmp_path / "speaks.py").write_text(SPEAKS)
    save_state(tmp_path / "received", {"w": np.zeros(2, np.float32)})
    trainer = ChildTrainer(Source(run="speaks:train", folder=tmp_path), said)

    async def train() -> None:
        for round in (0, 1):
            await trainer.train(a_request(tmp_path, run="demo", round=round), lambda _: None)
        await trainer.close()

    with capture_logs() as lines:
        asyncio.run(train())
    found = [(line["run"], line["turn"], line["line"]) for line in lines]
    assert [
        ("demo", "demo/0 term 1 round 0 hop 0", "round 0"),
        ("demo", "demo/0 term 1 round 1 hop 0", "round 1"),
    ] == found


@pytest.mark.parametrize(
    ("name", "says"), [("gone", "is not there"), ("empty", "is empty"), ("full", "")]
)
def test_a_site_whose_data_is_not_where_its_settings_say_warns_when_it_starts(
    tmp_path: Path, name: str, says: str
) -> None:
    """Bug: it started without a word, and the first turn failed in the night."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/scan").touch()
    with capture_logs() as lines:
        warn_of_data(tmp_path / name)
    assert bool(says) == any(says in line["event"] for line in lines)
    assert {"warning"} >= {line["log_level"] for line in lines}
