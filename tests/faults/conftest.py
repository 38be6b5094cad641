"""One federation for all scenarios of a module: every test has a run of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.broker import Broker
from support.scripted import Scripted, scripted, write_scripted

_names = (f"run-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Scripted]:
    """On the broker of the session, which nobody may kill."""
    with scripted(tmp_path_factory.mktemp("scripted"), broker) as federation:
        yield federation


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run file whose run has a name of its own."""
    return lambda **changes: write_scripted(tmp_path, next(_names), **changes)
