"""Files written whole or not at all: readers, and whoever starts after a crash, find old or new.

On disk when it returns means the file; that its name survives a power cut takes a `sync` of its
folder, which one may serve several files.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tasuki.disk.errors import disk_errors

PRIVATE = 0o600
PUBLIC = 0o644
BY_UMASK = 0o666
"""Modes; never wider, not for an instant."""


def write_whole(path: Path, data: bytes, *, mode: int = BY_UMASK, lasting: bool = True) -> None:
    """Let a file have this content, whatever it had before. One writer at a time.

    Args:
        lasting: on disk when this returns; else a power cut may take it back.

    Raises:
        DiskFull, StorageError: it is as it was.
    """
    part = path.with_name(f".{path.name}.part")
    with disk_errors(path):
        part.unlink(missing_ok=True)  # of one who was killed
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(descriptor, "wb") as file:  # noqa: PTH123 - made with its mode
                file.write(data)
                file.flush()
                if lasting:
                    os.fsync(descriptor)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def copy_whole(source: Path, path: Path) -> None:
    """A link where the file system allows it, for what never changes; else the bytes. On disk.

    Raises:
        DiskFull, StorageError: what was there still is.
    """
    part = path.with_suffix(".part")
    with disk_errors(path):
        part.unlink(missing_ok=True)
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
        sync(part)
        part.replace(path)


def point(link: Path, name: str) -> None:
    """Let a symbolic link lead to this name, wherever it led before."""
    part = link.with_name(f".{link.name}.new")
    with disk_errors(link):
        part.unlink(missing_ok=True)
        part.symlink_to(name)
        part.replace(link)


def sync(path: Path) -> None:
    """Force a file to the disk, or the names in a folder."""
    with disk_errors(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
