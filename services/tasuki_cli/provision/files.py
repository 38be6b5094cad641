"""Files of a kit: written whole or not at all, and never over one that is there."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from tasuki.wire.spool import disk_errors

PRIVATE = 0o600
PUBLIC = 0o644


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
