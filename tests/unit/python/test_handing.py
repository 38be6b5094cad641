"""Functions on their way to another process: what comes along, and what is said of what cannot."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasuki.errors import SettingsError
from tasuki_python import handing
from tasuki_site.trainer import cell

Said = list[str]


def handed(said: Said | None = None, **functions: Callable[..., Any]) -> Any:  # Any: a file
    return handing.handed(functions, warn=(said if said is not None else []).append)


def test_the_file_has_no_name_and_only_a_child_with_its_descriptor_reads_it(tmp_path: Path) -> None:
    factor = 3
    code = (
        "import pathlib; from tasuki_site.trainer import cell; cell.take(pathlib.Path('.'))\n"
        "import os, tasuki_cell; print(tasuki_cell.train(14), cell.VARIABLE in os.environ)"
    )
    with handed(train=lambda value: value * factor) as file:
        number = file.fileno()
        assert 0 == os.fstat(number).st_nlink
        done = subprocess.run(
            [sys.executable, "-c", code],
            pass_fds=[number],
            env={**os.environ, **cell.environment(number)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert not os.get_inheritable(number)
    assert "42 False" == done.stdout.strip()


def test_a_process_to_which_nothing_was_handed_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cell.VARIABLE, raising=False)
    before = list(sys.meta_path)
    cell.take(Path())
    assert before == sys.meta_path
    monkeypatch.setenv(cell.VARIABLE, cell.environment(None)[cell.VARIABLE])
    cell.take(Path())
    assert before == sys.meta_path


def test_where_modules_are_found_and_what_was_typed_comes_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "/opt/lib"])
    typed = {"<cell 1>": (5, None, ["x = 1\n"], "<cell 1>"), "/a.py": (5, 1.0, ["y\n"], "/a.py")}
    monkeypatch.setattr("linecache.cache", typed)
    with handed(train=lambda turn: turn) as file:
        file.seek(0)
        about = json.loads(file.readline())
    assert {"path": [str(tmp_path), "/opt/lib"], "sources": {"<cell 1>": ["x = 1\n"]}} == about


def test_an_open_file_that_a_function_uses_is_named(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, pytest.raises(SettingsError) as raised:
        handed(train=lambda turn: log.write(str(turn)))
    assert str(raised.value).startswith("train uses log, a TextIOWrapper, which cannot be in")
    assert str(raised.value).endswith(
        "make or open it inside train, or put it into a module and import that"
    )


def test_a_lock_is_found_where_a_function_uses_another_that_uses_it() -> None:
    lock = threading.Lock()

    def inner() -> bool:
        return lock.locked()

    def outer(turn: object) -> tuple[object, bool]:
        return turn, inner()

    with pytest.raises(SettingsError, match="inner uses lock, a lock, which cannot be in another"):
        handed(train=outer)
    partly = functools.partial(lambda turn: turn, turn=threading.Lock())
    with pytest.raises(SettingsError, match="evaluate uses turn, a lock"):
        handed(train=lambda turn: turn, evaluate=partly)


def test_functions_that_call_each_other_end_the_search() -> None:
    generator = (number for number in range(3))

    def one() -> object:
        return two, one

    def two() -> object:
        return one, generator

    with pytest.raises(SettingsError, match="two uses generator, a generator"):
        handed(train=one)


def test_an_object_that_cannot_be_pickled_for_a_reason_of_its_own_is_named() -> None:
    class Handle:
        def __reduce__(self) -> str:
            raise RuntimeError("a CUDA handle stays where it is")

    handle = Handle()
    with pytest.raises(SettingsError, match=r"uses handle, a Handle.*a CUDA handle stays"):
        handed(train=lambda turn: handle)


def test_much_data_is_told_and_goes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handing, "LARGE_BYTES", 2**20)
    said: Said = []
    images = bytes(2**21)
    with handed(said, train=lambda turn: images):
        pass
    assert "what the functions use is 2 MiB, and each site gets a copy" in said[0]


def test_what_is_missing_is_said_with_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(SettingsError, match=r"needs cloudpickle: .*pip install .*notebook"):
        handed(train=lambda turn: turn)
