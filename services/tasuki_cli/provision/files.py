"""Files of a kit: written whole or not at all, and never over one that is there."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from tasuki.disk.errors import disk_errors

PRIVATE = 0o600
PUBLIC = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A user and a group of the machine that a kit is used on."""

    uid: int
    gid: int


CONTAINER = Owner(uid=10001, gid=10001)
"""The user of our images."""


def default_owner() -> Owner:
    """Ourselves; not root, because no container should run as root."""
    return Owner(uid=os.getuid(), gid=os.getgid()) if os.getuid() else CONTAINER


def owner_of(path: Path) -> Owner:
    with disk_errors(path):
        status = path.stat()
    return Owner(uid=status.st_uid, gid=status.st_gid)


def give(path: Path, owner: Owner) -> None:
    """Let a file be its owner's.

    Raises:
        StorageError: only root may give files away.
    """
    if owner_of(path) != owner:
        with disk_errors(path):
            os.chown(path, owner.uid, owner.gid)


def add(path: Path, content: str | bytes, *, mode: int) -> bool:
    """Write a file that is not there yet; whether it was missing."""
    if path.exists():
        return False
    put(path, content, mode=mode)
    return True


def put(path: Path, content: str | bytes, *, mode: int) -> bool:
    """Let a file have this content; whether it had another. Readers see the old or the new."""
    data = content.encode() if isinstance(content, str) else content
    with disk_errors(path):
        if path.exists() and path.read_bytes() == data:
            return False
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            _write(part, data, mode)
            part.replace(path)
            # A broker that has a password which we forget locks its owner out.
            _sync_folder(path.parent)
        finally:
            part.unlink(missing_ok=True)
    return True


def make_folder(path: Path, *, mode: int = 0o700) -> None:
    with disk_errors(path):
        path.mkdir(mode=mode, parents=True, exist_ok=True)


def move_folder(path: Path, target: Path) -> None:
    """Move a folder; one that is a mount, as in a container, is emptied and stays."""
    with disk_errors(path):
        try:
            path.rename(target)
        except OSError as exc:
            if exc.errno not in {errno.EXDEV, errno.EBUSY}:
                raise
            target.mkdir(mode=0o700)
            for entry in list(path.iterdir()):
                shutil.move(entry, target / entry.name)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - made with its mode, never wider
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
