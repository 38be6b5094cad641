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


@pytest.mark.parametrize(
    ("initial", "says"),
    [
        ("nomod:Net", "there is no module 'nomod' in {folder}, and none is installed"),
        ("trian:Net", "there is no module 'trian' in {folder}; did you mean 'train'?"),
        ("package.nomod:Net", "there is no module 'package.nomod' in {folder}"),
    ],
)
def test_a_module_that_is_not_there_is_one_line(tmp_path: Path, initial: str, says: str) -> None:
    """Bug: it was a traceback."""
    (tmp_path / "train.py").touch()
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").touch()
    with pytest.raises(SettingsError) as raised:
        write_initial(initial, tmp_path / "w", folder=tmp_path, seed=0)
    assert says.format(folder=tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_module_that_misses_another_one_is_told_with_where(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(SettingsError) as raised:
        write_initial("needy:Net", tmp_path / "w", folder=tmp_path, seed=0)
    assert "No module named 'nothing_of_that_name'" in str(raised.value)
    assert "needy.py" in str(raised.value)
