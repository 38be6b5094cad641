"""`docs/nvflare.md` names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tasuki.flare as flare
from tasuki.flare import constants, lightning, tracking
from tasuki.settings.run import RunFile

PAGE = (Path(__file__).parents[3] / "docs/nvflare.md").read_text()
THERE, _, NOT_THERE = PAGE.partition("There is no `IPCAgent`")


def test_what_the_page_says_is_there_is_there() -> None:
    names = set(re.findall(r"`@?flare\.(\w+)", THERE))
    assert names
    there = {*dir(flare), *dir(lightning), "FLCallback", "logger"}  # the last two need Lightning
    assert names - there == set()
    writers = set(re.findall(r"`?(\w+Writer)`", THERE))
    assert writers == {"SummaryWriter", "MLflowWriter", "WandBWriter"}
    assert [name for name in writers if not hasattr(tracking, name)] == []


def test_what_the_page_says_is_not_there_is_not() -> None:
    assert NOT_THERE
    for name in ("patch", "IPCAgent"):
        with pytest.raises(ImportError, match=f"no '{name}'"):
            getattr(flare, name)


def test_every_constant_that_the_page_names_is_one() -> None:
    (row,) = re.findall(r"^\| (.+), from wherever", THERE, re.MULTILINE)
    names = re.findall(r"`(\w+)`", row)
    assert "NPConstants" in names
    assert [name for name in names if not hasattr(constants, name)] == []


def test_the_keys_of_the_run_file_are_its_keys() -> None:
    tables = re.findall(r"`\[(\w+)\] (\w+)", THERE)
    assert ("simulate", "trainer") in tables
    for table, key in tables:
        kind = RunFile.model_fields[table].annotation
        assert kind is not None
        assert key in kind.model_fields
