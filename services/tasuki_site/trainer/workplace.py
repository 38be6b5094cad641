"""A simulated site's own working folder, in which the files beside the trainer are found too.

Small files are copies, so that what a site writes is its own. Large files and large folders are
links to the one original: whoever writes to those is told.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

COPIED_BYTES = 2**20
"""A larger file is a link."""

COPIED_ENTRIES = 200
"""A folder with more in it, at whatever depth, is a link."""

LEDGER = "ledger.sqlite"
"""Where this is, is a data folder."""

_PARTS = {"runs", "spool", "uploads", "lock", "token"}
_PART = ".tasuki-part"
_LEFT_OUT = {"__pycache__", _PART}

Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Item:
    """One thing beside the trainer, by its path seen from there."""

    path: Path
    is_folder: bool = False
    is_link: bool = False


class Workplaces:
    """The working folders of one simulation.

    Args:
        beside: the trainer's folder.
        folder: where each site gets a folder of its own; kept over the run and over `--resume`.
        apart: the data folder, which is not the sites' and may lie beside the trainer.
        hidden: whether files whose names begin with a dot are found too. Where a notebook runs may
            be somebody's home, with keys in it.
    """

    def __init__(self, *, beside: Path, folder: Path, apart: Path, hidden: bool = True) -> None:
        self._hidden = hidden
        self._beside = beside
        self._folder = folder.absolute()
        self._apart = apart.resolve()
        self._ready: set[str] = set()
        self._items: tuple[_Item, ...] | None = None
        self._stamps: dict[Path, Stamp] = {}

    def ready(self, site: str) -> Path | None:
        """This site's folder, if it was prepared before."""
        return self._folder / site if site in self._ready else None

    def prepare(self, site: str) -> Path:
        """This site's folder. What was changed beside the trainer since is brought up to date.

        Raises:
            OSError: the disk.
        """
        place = self._folder / site
        if site not in self._ready or not place.is_dir():
            if self._items is None:
                self._items = tuple(self._found(self._beside))
                self._stamps = {
                    item.path: self._stamp(item) for item in self._items if item.is_link
                }
            place.mkdir(parents=True, exist_ok=True)
            for item in self._items:
                _put(self._beside / item.path, place / item.path, item)
            self._ready.add(site)
        return place

    def written_to(self) -> list[str]:
        """What all sites share and has changed since this was asked last."""
        now = {item.path: self._stamp(item) for item in self._items or () if item.is_link}
        changed = [str(path) for path, stamp in now.items() if stamp != self._stamps[path]]
        self._stamps = now
        return changed

    def _found(self, folder: Path) -> Iterator[_Item]:
        for path in sorted(folder.iterdir()):
            if path.name in _LEFT_OUT or self._is_apart(path) or _is_ours(path):
                continue
            if path.name.startswith(".") and not self._hidden:
                continue
            seen = path.relative_to(self._beside)
            if not path.is_dir():
                yield _Item(seen, is_link=not _is_small(path))
            elif path.is_symlink() or _is_large(path):
                yield _Item(seen, is_folder=True, is_link=True)
            else:
                yield _Item(seen, is_folder=True)
                yield from self._found(path)

    def _is_apart(self, path: Path) -> bool:
        with suppress(OSError):  # a link that leads nowhere, or to itself
            return path.samefile(self._apart)
        return False

    def _stamp(self, item: _Item) -> Stamp:
        try:
            found = (self._beside / item.path).stat()
        except OSError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_size)


def _is_ours(path: Path) -> bool:
    """A data folder, of any run at any time, or a part of one that is the trainer's own folder."""
    if (path / LEDGER).is_file():
        return True
    is_part = path.name in _PARTS or path.name.startswith(LEDGER)
    return is_part and (path.parent / LEDGER).is_file()


def _is_small(file: Path) -> bool:
    with suppress(OSError):  # gone meanwhile
        return file.is_file() and file.stat().st_size <= COPIED_BYTES
    return False


def _is_large(folder: Path) -> bool:
    count = 0
    for _, folders, files in os.walk(folder):
        count += len(folders) + len(files)
        if count > COPIED_ENTRIES:
            return True
    return False


def _put(original: Path, place: Path, item: _Item) -> None:
    if item.is_link:
        if not os.path.lexists(place):
            place.symlink_to(original)
    elif item.is_folder:
        if not place.exists():
            place.mkdir()
    elif not place.exists() or (place.is_file() and _is_newer(original, place)):
        with suppress(FileNotFoundError):  # gone since it was found, as an editor's files are
            _copy(original, place)


def _copy(original: Path, place: Path) -> None:
    """Under another name first: half a copy would pass for something that the site has written."""
    part = place.with_name(_PART)
    shutil.copy2(original, part)
    part.replace(place)


def _is_newer(original: Path, place: Path) -> bool:
    """Else the copy is as it was, or the site has written to it."""
    with suppress(FileNotFoundError):
        return original.stat().st_mtime_ns > place.stat().st_mtime_ns
    return False
