"""What the operating system says about files, in our own errors and with what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasuki.errors import DiskFull, StorageError

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the user's quota is full",
    errno.EFBIG: "a limit for the size of files (`ulimit -f`, or the disk's) is reached",
}


def is_disk_full(exc: BaseException) -> bool:
    """Whether this is the operating system saying that no space, or no quota, is left."""
    return isinstance(exc, OSError) and exc.errno in _FULL


@contextmanager
def disk_errors(what: Path) -> Iterator[None]:
    """Translate what the operating system says about files into our own errors.

    Raises:
        DiskFull: no space, or no quota, left.
        StorageError: anything else.
    """
    try:
        yield
    except OSError as exc:
        if is_disk_full(exc):
            advice = "make room and start again, a simulation with --resume"
            raise DiskFull(f"{_FULL[exc.errno or 0]} at {what}; {advice}") from exc
        advice = ""
        if isinstance(exc, PermissionError):
            advice = f"; let user {os.getuid()}, who runs this, own it"
        raise StorageError(f"{what}: {exc.strerror or exc}{advice}") from exc
