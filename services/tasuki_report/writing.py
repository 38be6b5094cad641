"""The report of a run, as files."""

from __future__ import annotations

from pathlib import Path

from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import write_whole
from tasuki_report.material import Material
from tasuki_report.numbers.tables import tables_of


def write_report(material: Material, path: Path) -> int:
    """One page that needs no server and no network; returns its size in bytes.

    Raises:
        SettingsError: what draws it is not installed.
        DiskFull, StorageError: what was at `path` is as it was.
    """
    from tasuki_report.page.render import rendered
    from tasuki_report.page.view import view_of

    page = rendered(view_of(material)).encode()
    write_whole(path, page)
    return len(page)


def write_csv(material: Material, folder: Path) -> list[Path]:
    """The numbers of the page, as files in a folder, which is made; returns them.

    Raises:
        DiskFull, StorageError: some may be missing.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in tables_of(material).items():
        write_whole(folder / name, text.encode())
        written.append(folder / name)
    return written
