"""What a file is while it is written, and after that went wrong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasuki.disk.writing import BY_UMASK, PRIVATE, PUBLIC, copy_whole, point, sync, write_whole
from tasuki.errors import DiskFull, StorageError


@pytest.fixture(params=[0, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def forced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of what is forced to the disk from now on."""
    found: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: found.append(os.fstat(descriptor).st_ino))
    return found


@pytest.mark.parametrize("mode", [PRIVATE, PUBLIC, BY_UMASK])
def test_a_file_has_its_mode_before_anything_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int, mode: int
) -> None:
    made: list[tuple[int, int]] = []
    opened = os.open

    def note(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        found = os.fstat(descriptor)
        made.append((stat.S_IMODE(found.st_mode), found.st_size))
        return descriptor

    monkeypatch.setattr(os, "open", note)
    path = tmp_path / "file"
    path.write_text("before, and everybody's")
    path.chmod(0o666)
    write_whole(path, b"after", mode=mode)
    assert (mode & ~umask, 0) == made[0]
    assert mode & ~umask == stat.S_IMODE(path.stat().st_mode)
    assert b"after" == path.read_bytes()


@pytest.mark.parametrize(("where", "name"), [(os, "open"), (os, "fsync"), (Path, "replace")])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, name: str
) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with monkeypatch.context() as patched:
        patched.setattr(where, name, fail)
        with pytest.raises(DiskFull):
            write_whole(path, b"after")
    assert [path] == list(tmp_path.iterdir())
    assert "before" == path.read_text()


def test_what_is_written_is_on_disk_unless_it_need_not_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = forced(monkeypatch)
    write_whole(tmp_path / "lasting", b"content")
    write_whole(tmp_path / "passing", b"content", lasting=False)
    sync(tmp_path)
    assert [(tmp_path / "lasting").stat().st_ino, tmp_path.stat().st_ino] == found


def test_a_copy_is_a_link_where_there_can_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, path = tmp_path / "source", tmp_path / "copy"
    source.write_text("content")
    path.with_suffix(".part").write_text("half of it, from before a crash")
    copy_whole(source, path)
    assert source.samefile(path)
    monkeypatch.setattr(os, "link", fail)
    found = forced(monkeypatch)
    copy_whole(source, path)
    assert not source.samefile(path)
    assert ("content", "content") == (source.read_text(), path.read_text())
    assert [path.stat().st_ino] == found
    assert {source, path} == set(tmp_path.iterdir())


def test_a_copy_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, path = tmp_path / "source", tmp_path / "copy"
    source.write_text("after")
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFull):
        copy_whole(source, path)
    assert "before" == path.read_text()


def test_a_link_leads_to_what_it_was_pointed_at_last(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_text(name)
        point(tmp_path / "latest", name)
        assert name == (tmp_path / "latest").read_text()
    assert {"first", "second", "latest"} == {path.name for path in tmp_path.iterdir()}


def test_a_folder_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        sync(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="No such file"):
        write_whole(tmp_path / "nowhere" / "file", b"content")
