"""A federation of real processes for each module, whole again before each of its tests."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.broker import Broker
from support.federation import NO_TORCH, SITES, Federation
from support.simulation import write_run

JUDGING = dict.fromkeys(SITES, '[trainers.judging]\nrun = "walk:judge_first"')
ORDER = '["site-2", "site-1", "site-3"]'
_names = (f"run-{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Federation]:
    """One for all tests of a module: every test has a run of its own."""
    folder, vhost = tmp_path_factory.mktemp("federation"), broker.vhost()
    write_run(folder)
    path = os.pathsep.join([str(NO_TORCH), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        # Trainers that need no torch do not pay for it: a second of each process.
        patch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
        with Federation(folder, broker, vhost, trainers=JUDGING) as federation:
            yield federation
    broker.drop_vhost(vhost)


@pytest.fixture
def federation(processes: Federation) -> Federation:
    """Everybody at work, and nothing else to do."""
    processes.tidy()
    return processes


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run file whose run has a name of its own."""

    def write_named(**changes: object) -> Path:
        folder = tmp_path / next(_names)
        folder.mkdir()
        path = write_run(folder, **{"order": ORDER, "flag": tmp_path, **changes})
        path.write_text(path.read_text().replace('name = "walk"', f'name = "{folder.name}"'))
        return path

    return write_named
