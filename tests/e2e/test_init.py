"""What `tasuki init` writes trains at once, where what it needs is installed with the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.simulation import simulate, tasuki
from support.templates import check_splits


@pytest.mark.timeout(300)
@pytest.mark.parametrize("template", ["numpy", "nvflare-script", "sklearn", "torch"])
def test_a_template_trains_and_evaluates_as_it_is(template: str, tmp_path: Path) -> None:
    folder = tmp_path / "begun"
    assert tasuki("init", folder, "--template", template).code == 0
    ended = simulate(folder / "run.toml", timeout_s=250)
    assert ended.code == 0, ended.err
    assert (ended.last["status"], ended.last["turns"]) == ("finished", 9)
    assert ended.last["metrics"]["accuracy"] > 0.85
    check_splits(folder / "run.toml")
