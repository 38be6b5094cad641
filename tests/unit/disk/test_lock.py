"""A data folder belongs to one process of one user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tasuki.disk.lock import locked
from tasuki.errors import DataInUse


@pytest.mark.parametrize("mask", [0, 0o077])
def test_a_data_folder_is_made_for_its_user_alone(tmp_path: Path, mask: int) -> None:
    """Weights and errors lie in it, with whatever rights the files themselves have."""
    before = os.umask(mask)
    try:
        with locked(tmp_path / "data"):
            mode = stat.S_IMODE((tmp_path / "data").stat().st_mode)
    finally:
        os.umask(before)
    assert mode == 0o700


def test_a_folder_that_somebody_works_in_is_not_given_to_another(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(DataInUse, match="works in"), locked(tmp_path):
        pass
    with locked(tmp_path):  # let go of
        pass
