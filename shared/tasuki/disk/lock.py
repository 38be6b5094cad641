"""One process at a time in a data folder: two would both believe that they decide."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasuki.disk.errors import disk_errors
from tasuki.errors import DataInUse


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if need be; the lock dies with the process.

    Raises:
        DataInUse: another process has it.
    """
    with disk_errors(folder):
        # Weights and errors are in it, which are nobody else's on this machine.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataInUse(
                f"another process works in {folder}; wait for it, or use another folder"
            ) from None
        yield
