"""Files of a kit: whose they are, and never written over one that is there."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import sync, write_whole
from tasuki.settings.broker import OLD


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


def content_of(path: Path) -> bytes:
    """Raises StorageError: it cannot be read."""
    with disk_errors(path):
        return path.read_bytes()


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
    write_whole(path, data, mode=mode)
    # A broker that has a password which we forget locks its owner out.
    sync(path.parent)
    return True


def set_aside(*paths: Path) -> None:
    """Keep what is there under another name, in place of what was kept so before."""
    for path in paths:
        with disk_errors(path):
            if path.exists():
                path.replace(path.with_name(path.name + OLD))


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
