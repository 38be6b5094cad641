"""A run's first weights, as the run file names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasuki.errors import SettingsError
from tasuki_site.model_files import write_initial


def test_a_factory_that_a_module_lacks_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "weights_of_mine.py").write_text("def make():\n    return {}\n")
    with pytest.raises(SettingsError) as raised:
        write_initial("weights_of_mine:mkae", tmp_path / "w", folder=tmp_path, seed=0)
    assert "module weights_of_mine has no 'mkae'; did you mean 'make'?" in str(raised.value)
    assert "Traceback" not in str(raised.value)
