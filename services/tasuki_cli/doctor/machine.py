"""The machine that a service runs on: its disk, its folder and its clock."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
from functools import partial
from pathlib import Path

from tasuki.disk.errors import disk_errors
from tasuki.disk.lock import locked
from tasuki.disk.writing import write_whole
from tasuki.errors import DataInUse, DiskFull, SettingsError, StorageError
from tasuki.weights.spool import SUFFIX
from tasuki_cli.doctor.report import Diagnosis, Finding, Status, Step

_MIB, _GIB = 2**20, 2**30
_LITTLE = 5 * _GIB
_TRANSFERS = 3  # one that comes in, one that trains, one that goes out
_TIMEX_BYTES = 1024  # more than any system's `struct timex`
_UNSYNCHRONISED = 5


def steps(folder: Path) -> list[Step]:
    """Each by itself: none needs another."""
    return [
        Step(name="disk", look=partial(_disk, folder), advice=_room_for(folder)),
        Step(
            name="write access",
            look=partial(_write, folder),
            advice=f"let the service's user own {folder}, or set `folder`",
        ),
        Step(name="own folder", look=partial(_in_use, folder), advice=""),
        Step(
            name="clock",
            look=_clock,
            advice="synchronise this machine's clock (chrony, systemd-timesyncd): certificates "
            "have dates, and records should; Tasuki decides nothing by it",
        ),
    ]


def data(path: Path | None) -> list[Step]:
    """The site's own data, if its settings say where that is."""
    if path is None:
        return []
    advice = "put the data there, or name its folder in [data] path; in a container it is mounted"
    return [Step(name="[data] path", look=partial(_data, path), advice=advice)]


def _room_for(folder: Path) -> str:
    return f"free space under {folder}, or move `folder` to a larger disk"


def _data(path: Path) -> Finding:
    if not path.exists():
        raise SettingsError(f"[data] path: there is no {path}")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise SettingsError(f"[data] path: {path} cannot be read by user {os.getuid()}")
    if path.is_dir() and not any(path.iterdir()):
        return Finding(found=f"{path} is empty", status=Status.WARN)
    return Finding(found=f"{path} can be read", brief="can be read")


def _disk(folder: Path) -> Finding:
    place = next(path for path in (folder, *folder.parents) if path.is_dir())
    usage = shutil.disk_usage(place)
    brief = f"{_size(usage.free)} of {_size(usage.total)} are free"
    said = f"{brief} at {place}"
    if usage.free == 0:
        raise DiskFull(said)
    _check_files(place)
    weights = _largest_weights(folder)
    if usage.free < _TRANSFERS * weights:
        said += f"; weights here have {_size(weights)}, and need {_TRANSFERS} times that"
        return Finding(found=said, status=Status.WARN)
    is_short = usage.free < max(_LITTLE, usage.total // 10)
    return Finding(found=said, status=Status.WARN if is_short else Status.OK, brief=brief)


def _size(count: int) -> str:
    return f"{count / _MIB:.0f} MiB" if count < 10 * _GIB else f"{count / _GIB:.1f} GiB"


def _check_files(place: Path) -> None:
    """Raises Diagnosis: there is space, and no file can be made for it."""
    disk = os.statvfs(place)
    if disk.f_files and not disk.f_favail:
        raise Diagnosis(
            DiskFull(f"all {disk.f_files} files that the disk at {place} can have are there"),
            advice="remove files that nobody needs: it is not space that is short",
        )


def _largest_weights(folder: Path) -> int:
    with disk_errors(folder):
        return max((path.stat().st_size for path in folder.rglob(f"*{SUFFIX}")), default=0)


def _write(folder: Path) -> Finding:
    """On a full disk it does not matter who owns the folder."""
    try:
        _write_probe(folder, folder / f"doctor-{secrets.token_hex(4)}")
    except DiskFull as exc:
        raise Diagnosis(
            DiskFull(f"the disk is full at {folder}"), advice=_room_for(folder)
        ) from exc
    return Finding(found=f"can write in {folder}", brief="can write in its folder")


def _write_probe(folder: Path, probe: Path) -> None:
    """What every hand-over does: write, force to the disk, rename."""
    with disk_errors(probe):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_whole(probe, b"probe")
        finally:
            probe.unlink(missing_ok=True)


def is_at_work(folder: Path) -> bool:
    """Whether a service works in this folder, as far as can be told."""
    try:
        _lock(folder)
    except DataInUse:
        return True
    except StorageError:
        pass  # told by itself
    return False


def _lock(folder: Path) -> None:
    with locked(folder):
        return


def _in_use(folder: Path) -> Finding:
    try:
        _lock(folder)
    except DataInUse:
        return Finding(
            found=f"a service is at work in {folder}", brief="a service is at work in it"
        )
    return Finding(found=f"no service works in {folder} now", brief="no service works in it now")


def _clock() -> Finding:
    """Whether the kernel thinks that its clock is kept right; asking changes nothing."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return Finding(found="this system does not say", status=Status.SKIPPED)
    if state < 0:
        return Finding(found="the kernel does not say", status=Status.SKIPPED)
    if state == _UNSYNCHRONISED:
        return Finding(found="nothing keeps this machine's clock right", status=Status.WARN)
    return Finding(found="synchronised")
