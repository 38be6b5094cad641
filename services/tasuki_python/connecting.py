"""`tasuki.connect`: the runs of a controller, or of a data folder."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tasuki.errors import SettingsError
from tasuki.settings.run import RunFile
from tasuki.settings.toml import read
from tasuki_cli import operate
from tasuki_cli.client import ControllerClient
from tasuki_cli.records import LocalArchive
from tasuki_controller.data_folder import DataFolder
from tasuki_controller.documents import RunRow
from tasuki_python.course import Recorded, Watched
from tasuki_python.run import Run
from tasuki_python.tables import as_table

T = TypeVar("T")


def connect(
    url: str | None = None,
    *,
    token_file: str | Path = "token",  # noqa: S107 - a file's name
    ca: str | Path | None = None,
    proxy: str | None = None,
    data: str | Path | None = None,
) -> Federation:
    """A running controller, or the data folder of a simulation.

    Args:
        url: the controller's, as https://controller.example:8443.
        token_file: has the token, as on the command line.
        ca: whom to believe that it is the controller; else whom the machine believes.
        data: a folder instead of a controller.

    Raises:
        SettingsError: one of these cannot be used.
    """
    if (url is None) == (data is None):
        raise SettingsError("connect takes the url of a controller, or data=, a folder")
    if url is None:
        return Federation(None, DataFolder(Path(data or "")))
    trusted = None if ca is None else Path(ca)
    return Federation(ControllerClient(url, Path(token_file), ca=trusted, proxy=proxy), None)


class Federation:
    """Runs that others may have begun."""

    def __init__(self, client: ControllerClient | None, data: DataFolder | None) -> None:
        self._client = client
        self._data = data

    @property
    def runs(self) -> Any:  # Any: pandas need not be installed
        """A row for each run: a DataFrame, or a list of dicts without pandas."""
        found = self._runs()
        return as_table([dict(row) for row in found], list(RunRow.model_fields))

    def run(self, name: str) -> Run:
        """One of them.

        Raises:
            UnknownRun: there is none of this name.
        """
        if self._client is not None:
            run = Run(name, Watched(name, self._client))
            self._client.standing(name)
        else:
            assert self._data is not None  # noqa: S101 - `connect` gave one of them
            run = Run(name, Recorded(name, self._data))
            self._data.rows(name)
        return run

    def submit(self, run_toml: str | Path, *, wait: bool = True) -> Run:
        """Start a run from a run file; `wait`: show it until it is over.

        Functions cannot be submitted: each site trains with code that it has installed.

        Raises:
            TasukiError: what is wrong with the file, or what the run failed with.
        """
        client = self._client
        if client is None:
            raise SettingsError("a folder starts no runs: call tasuki.simulate, or connect to one")
        if not isinstance(run_toml, str | Path):
            raise SettingsError(
                "submit takes the path of a run file: code never travels, each site trains with"
                " what it has installed"
            )
        path = Path(run_toml)
        run_file = read(path, RunFile)
        _apart(lambda: operate.submit_file(path, run_file, client))
        run = self.run(run_file.name)
        return run.wait() if wait else run

    def __enter__(self) -> Federation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go."""
        if self._client is not None:
            self._client.close()

    def _runs(self) -> list[RunRow]:
        if self._client is not None:
            return list(self._client.runs())
        assert self._data is not None  # noqa: S101 - as above
        return list(LocalArchive(self._data.path).runs())


def _apart(work: Callable[[], T]) -> T:
    """In a thread of its own: it has an event loop, and so may whoever calls."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()
