"""What `tasuki init` writes for other frameworks trains at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.frameworks import need
from support.simulation import simulate, tasuki
from support.templates import check_splits

NEEDS = {
    "lightning": ("lightning",),
    "huggingface": ("transformers", "accelerate"),
    "keras": ("tensorflow", "keras"),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("template", NEEDS)
def test_a_template_trains_and_evaluates_as_it_is(template: str, tmp_path: Path) -> None:
    need(*NEEDS[template])
    folder = tmp_path / "begun"
    assert tasuki("init", folder, "--template", template).code == 0
    ended = simulate(folder / "run.toml", timeout_s=400)
    assert ended.code == 0, ended.err
    assert (ended.last["status"], ended.last["turns"]) == ("finished", 9)
    metrics = ended.last["metrics"]
    assert metrics["eval_loss"] < 3 if template == "huggingface" else metrics["accuracy"] > 0.85
    check_splits(folder / "run.toml", timeout_s=150)
